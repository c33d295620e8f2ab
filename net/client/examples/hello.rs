//! Stores a value and reads it back: `cargo run -p torc-client --example hello`, with a server on the default port.
use std::time::Duration;

fn main() -> Result<(), torc_client::Error> {
    let cache = torc_client::Client::new("127.0.0.1:7171")?;
    cache.set("greeting", "hello, world").ttl(Duration::from_secs(60)).wait()?;
    if let Some(item) = cache.get("greeting").wait()? {
        println!("{}", String::from_utf8_lossy(&item.value));
    }
    println!("visits: {:?}", cache.increment("visits", 1).initial(1, torc_client::Expiry::Never).wait()?);
    Ok(())
}
