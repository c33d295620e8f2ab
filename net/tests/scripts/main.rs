//! Scripts over two shards and both transports: nobody sees half of one, what is stopped has changed nothing, and attacks stop nobody else.

#[path = "../servers/mod.rs"]
mod servers;

mod client;
mod commands;
mod copies;
mod limits;
mod together;
