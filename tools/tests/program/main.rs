//! The built `torc` program from outside: processes, sockets, signals, exit codes.
//!
//! Every server binds to loopback on free ports and is killed when its test ends, whatever comes of it.

mod admin;
mod alone;
mod attacks;
mod bench;
mod cli;
mod clients;
mod config;
mod doctor;
mod documents;
mod harness;
mod importing;
mod imports;
mod limits;
mod metrics;
mod rdma;
mod rdma_client;
mod ready;
mod refused;
mod shared_memory;
mod signals;
mod tier;
mod tier_command;
mod waits;
