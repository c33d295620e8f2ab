//! Which keys are asked for most, by a sample: told to Redis clients and to native ones.

mod servers;

use servers::*;
use std::io::Write;
use std::time::Duration;

#[test]
fn the_key_that_is_asked_for_most_is_told_first() {
    for config in kinds() {
        eprintln!("{}, {} shards", config.transport, config.shards);
        let server = start(config);
        let mut client = connect(address(&server));
        for round in 0..200 {
            let requests: String = (0..100)
                .map(|n| {
                    format!(
                        "GET {}\r\n",
                        if n % 2 == 0 { "hot key".replace(' ', "-") } else { format!("k{round}-{n}") }
                    )
                })
                .collect();
            exchange(&mut client, requests.as_bytes(), &b"$-1\r\n".repeat(100));
        }
        let mut told = String::new();
        // Told once a second.
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(100));
            client.write_all(b"HOTKEYS GET COUNT 1\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n") || !String::from_utf8_lossy(&answer).contains("by-requests\r\n*")
            {
                read_more(&mut client, &mut answer);
            }
            told = String::from_utf8(answer).unwrap();
            if told.contains("hot-key") {
                break;
            }
        }
        assert!(
            told.starts_with("*8\r\n$15\r\ntracking-active\r\n:1\r\n$12\r\nsample-ratio\r\n:128\r\n"),
            "{told}"
        );
        assert!(told.contains("*2\r\n$7\r\nhot-key\r\n:"), "{told}");
        let client = torc_client::Client::new(address(&server).to_string()).unwrap();
        let lines = client.statistics("hotkeys").wait().unwrap();
        assert_eq!((lines[0].0.as_str(), lines[1].0.as_str()), ("sampled", "hot-key"), "{lines:?}");
        assert!(sum(&server, |stats| stats.hottest_key_permille.read()) > 300);
        end(server);
    }
}
