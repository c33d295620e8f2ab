//! Both ends over simulated devices, under many seeds; `TORC_SIM_SEED=n` replays one.

mod caller;
mod failures;
mod hostile_client;
mod hostile_server;
mod hub;
mod hub_parts;
mod raw;
mod streams;
mod world;
