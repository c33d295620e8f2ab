//! The native wire vectors: every case is parsed to what it says, cut at every byte, and composed to the same bytes.

use std::fmt::Write;
use std::path::Path;
use torc_proto::native::doubts::CAUSES;
use torc_proto::native::pair::Window;
use torc_proto::native::topology::WrongOwner;
use torc_proto::native::{
    Answer, Attach, Attached, Doubts, Expiry, FrameLimits, Hello, HelloAnswer, Invalid, ItemFacts, Keys, Op,
    Options, PairEnd, ParseError, ReadablePiece, ReadsAsked, ReadsGiven, Request, Status, Topology,
};
use torc_proto::slot::slot_of;

const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 1 << 20 };

#[derive(Debug, Default)]
struct Case {
    name: String,
    direction: String,
    bytes: Vec<u8>,
    /// The lines after `is`.
    expected: Vec<String>,
    refused: Option<String>,
    invalid: bool,
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/native").join(file);
    std::fs::read_to_string(path).expect("a readable file")
}

fn cases(file: &str, direction: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in read(file).lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "case" {
            cases.push(Case { name: rest.into(), direction: direction.into(), ..Case::default() });
            continue;
        }
        let Some(last) = cases.last_mut() else { continue };
        match word {
            "direction" => last.direction = rest.into(),
            "hex" => {
                let digits = rest.split('#').next().unwrap_or("").split_whitespace();
                last.bytes.extend(digits.map(|byte| u8::from_str_radix(byte, 16).expect("two digits")));
            }
            "is" => last.expected.push(rest.into()),
            "refused" => last.refused = Some(rest.into()),
            "invalid" => last.invalid = true,
            "clauses" | "#" | "" => {}
            other => panic!("{file}: what is {other:?}?"),
        }
    }
    cases
}

fn quoted(bytes: &[u8]) -> String {
    let plain = |&byte: &u8| (0x20..0x7F).contains(&byte) && byte != b'"' && byte != b'\\';
    if bytes.iter().all(plain) {
        return format!("\"{}\"", String::from_utf8_lossy(bytes));
    }
    bytes.iter().fold("hex ".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn expiry(expiry: Expiry) -> String {
    match expiry {
        Expiry::Keep => "keep 0".into(),
        Expiry::Never => "never 0".into(),
        Expiry::In(ms) => format!("in {ms}"),
        Expiry::At(ms) => format!("at {ms}"),
    }
}

fn options_lines(options: &Options, lines: &mut Vec<String>) {
    let hex = |bytes: &[u8]| quoted(bytes).trim_start_matches("hex ").to_owned();
    lines.extend(options.deadline_us.map(|us| format!("deadline {us}")));
    lines.extend(options.client_flags.map(|flags| format!("client-flags {flags}")));
    lines.extend(options.expiry.map(|value| format!("expiry {}", expiry(value))));
    lines.extend(options.compare.map(|token| format!("compare {token}")));
    lines.extend(options.token.map(|token| format!("token {token}")));
    lines.extend(options.vivify.map(|value| format!("vivify {}", expiry(value))));
    lines.extend(options.recache_below_ms.map(|ms| format!("recache {ms}")));
    lines.extend(
        options.initial.map(|initial| format!("initial {} {}", expiry(initial.expiry), initial.number)),
    );
    lines.extend(options.change.map(|change| {
        format!("change {} {}", change.number, if change.repeat { "repeat" } else { "first" })
    }));
    lines.extend(
        options
            .trace
            .map(|trace| format!("trace {} {} {}", trace.flags, hex(&trace.trace_id), hex(&trace.span_id))),
    );
    lines.extend(
        (0..32).filter(|kind| options.critical & 1 << kind != 0).map(|kind| format!("critical {kind:#04x}")),
    );
}

fn request_lines(request: &Request<'_>) -> Result<Vec<String>, Invalid> {
    let header = request.header;
    let mut lines = vec![
        format!("op {:#04x}", header.op),
        format!("flags {:#06x}", header.flags),
        format!("id {}", header.id),
    ];
    options_lines(&Options::parse(request.extensions)?, &mut lines);
    key_and_value(request.key, request.value, &mut lines);
    match Op::from_wire(header.op) {
        Some(Op::Hello) => {
            let hello = Hello::parse(request.value)?;
            lines.push(format!(
                "hello versions {} {} features {} session {} boot {}",
                hello.version_min, hello.version_max, hello.features, hello.session, hello.boot_id
            ));
        }
        Some(Op::Attach) => {
            let attach = Attach::parse(request.value)?;
            lines.push(format!(
                "attach layouts {} {} features {}",
                attach.layout_min, attach.layout_max, attach.features
            ));
        }
        Some(Op::Doubts) => {
            let Doubts(counts) = Doubts::parse(request.value)?;
            let causes = CAUSES.iter().zip(counts);
            lines.push(
                causes.fold("doubts".to_owned(), |line, (cause, count)| format!("{line} {cause} {count}")),
            );
        }
        Some(Op::Pair) => lines.push(pair_line(&PairEnd::parse(request.value)?)),
        Some(Op::Reads) => {
            let ReadsAsked { epoch, known, pair } = ReadsAsked::parse(request.value)?;
            lines.push(format!("reads epoch {epoch} known {known}"));
            lines.extend(pair.iter().map(pair_line));
        }
        Some(Op::MultiGet) => {
            let (keys, _) = Keys::parse(request.value, 100)?;
            lines.push(keys.fold("keys".to_owned(), |line, key| line + " " + &quoted(key)));
        }
        _ => {}
    }
    Ok(lines)
}

fn answer_lines(answer: &Answer<'_>) -> Result<Vec<String>, Invalid> {
    let header = answer.header;
    let mut lines = vec![
        format!("op {:#04x}", header.op),
        format!("status {:#04x}", header.status() as u8),
        format!("marks {:#04x}", header.marks),
        format!("id {}", header.id),
        format!("token {}", header.token),
    ];
    let facts = ItemFacts::parse(answer.extensions)?;
    match facts.item {
        Some(item) => lines.push(format!(
            "item client-flags {} remaining {} value-bytes {} version {}",
            facts.client_flags,
            item.remaining_ms.map_or("never".to_owned(), |ms| ms.to_string()),
            item.value_bytes,
            item.version
        )),
        None if facts.client_flags != 0 => lines.push(format!("client-flags {}", facts.client_flags)),
        None => {}
    }
    lines.extend(facts.access_age_s.map(|seconds| format!("access {seconds}")));
    key_and_value(answer.key, answer.value, &mut lines);
    match (Op::from_wire(header.op), header.status()) {
        (_, Status::WrongOwner) => {
            let owner = WrongOwner::parse(answer.value)?;
            lines
                .push(format!("wrong-owner slot {} shard {} epoch {}", owner.slot, owner.shard, owner.epoch));
        }
        (Some(Op::Hello), Status::Ok) => {
            lines.push(hello_line(&HelloAnswer::parse(answer.value)?));
            let path = HelloAnswer::shared_memory_path(answer.value);
            lines.extend(path.map(|path| format!("shared-memory \"{path}\"")));
        }
        (Some(Op::Attach), Status::Ok) => attached_lines(&Attached::parse(answer.value)?, &mut lines),
        (Some(Op::Pair), Status::Ok) => lines.push(pair_line(&PairEnd::parse(answer.value)?)),
        (Some(Op::Reads), Status::Ok) => given_lines(&ReadsGiven::parse(answer.value)?, &mut lines),
        (Some(Op::Topology), Status::Ok) => {
            let map = Topology::parse(answer.value)?;
            lines.push(format!("topology epoch {} boot {}", map.epoch, map.boot_id));
            lines.extend(
                map.ranges
                    .iter()
                    .map(|range| format!("range {} {} shard {}", range.first, range.last, range.shard)),
            );
            lines.extend(
                map.shards
                    .iter()
                    .map(|shard| format!("shard {} \"{}\" {}", shard.shard, shard.host, shard.port)),
            );
        }
        _ => {}
    }
    Ok(lines)
}

fn attached_lines(attached: &Attached, lines: &mut Vec<String>) {
    lines.push(format!(
        "attached layout {} boot {} words {} rings {} {}",
        attached.layout,
        attached.boot_id,
        attached.words_bytes,
        attached.request_ring_bytes,
        attached.answer_ring_bytes
    ));
    lines.extend(attached.descriptors.iter().map(|descriptor| {
        format!("descriptor kind {} shard {} bytes {}", descriptor.kind, descriptor.shard, descriptor.bytes)
    }));
}

fn given_lines(given: &ReadsGiven, lines: &mut Vec<String>) {
    lines.push(format!(
        "reads epoch {} bytes {} passed {} lease {} shard {} unpaired {}",
        given.epoch, given.bytes, given.passed_ns, given.lease_ms, given.shard, given.is_unpaired
    ));
    lines.extend(given.pair.iter().map(pair_line));
    let piece =
        |piece: &ReadablePiece| format!("piece {} {} {} {}", piece.at, piece.bytes, piece.address, piece.key);
    lines.extend(given.pieces.iter().map(piece));
}

fn pair_line(end: &PairEnd) -> String {
    let window = |window: Window| format!("{} {} {}", window.address, window.key, window.bytes);
    format!(
        "pair messages {} {} features {} gid {} number {} first {} mtu {} receives {} {} reads {} shard {} landing {} lending {}",
        end.version_min,
        end.version_max,
        end.features,
        quoted(&end.gid).trim_start_matches("hex "),
        end.number,
        end.first,
        end.mtu,
        end.receives,
        end.receive_bytes,
        end.reads,
        end.shard,
        window(end.landing),
        window(end.lending)
    )
}

fn hello_line(hello: &HelloAnswer) -> String {
    format!(
        "hello version {} shard {} of {} features {} credit {} session {} boot {} epoch {} limits {} {} {} now {}",
        hello.version,
        hello.shard,
        hello.shard_count,
        hello.features,
        hello.credit,
        hello.session,
        hello.boot_id,
        hello.epoch,
        hello.key_bytes_max,
        hello.frame_bytes_max,
        hello.value_bytes_max,
        hello.now_ms
    )
}

fn key_and_value(key: &[u8], value: &[u8], lines: &mut Vec<String>) {
    if !key.is_empty() {
        lines.push(format!("key {}", quoted(key)));
    }
    if !value.is_empty() {
        lines.push(format!("value {}", quoted(value)));
    }
}

/// What parsing says, with the frame's length.
fn parsed(case: &Case, bytes: &[u8]) -> Result<(Result<Vec<String>, Invalid>, usize), ParseError> {
    if case.direction == "request" {
        Request::parse(bytes, &LIMITS).map(|(request, consumed)| (request_lines(&request), consumed))
    } else {
        Answer::parse(bytes, &LIMITS).map(|(answer, consumed)| (answer_lines(&answer), consumed))
    }
}

fn check(case: &Case) {
    if case.invalid {
        assert!(matches!(parsed(case, &case.bytes), Err(ParseError::Invalid(_))), "{}", case.name);
        return;
    }
    if let Some(status) = &case.refused {
        let refusal = match parsed(case, &case.bytes) {
            Ok((lines, consumed)) => {
                assert_eq!(consumed, case.bytes.len(), "{}", case.name);
                lines.expect_err("the extensions are wrong")
            }
            // A frame that cannot be taken apart, but whose header says how long it is.
            Err(ParseError::Invalid(invalid)) => invalid,
            Err(incomplete) => panic!("{}: {incomplete}", case.name),
        };
        let told = match refusal {
            Invalid::ExtensionUnknown(_) => "unknown-extension",
            Invalid::ExpiryKind(_) => "bad-argument",
            _ => "malformed",
        };
        assert_eq!(told, status, "{}", case.name);
        return;
    }
    let (lines, consumed) = parsed(case, &case.bytes).expect(&case.name);
    assert_eq!(lines.as_ref(), Ok(&case.expected), "{}", case.name);
    assert_eq!(consumed, case.bytes.len(), "{}", case.name);
    // Bytes of the next frame change nothing.
    let mut longer = case.bytes.clone();
    longer.push(0xC7);
    assert_eq!(parsed(case, &longer), Ok((lines, consumed)), "{}", case.name);
    for end in 0..case.bytes.len() {
        match parsed(case, &case.bytes[..end]) {
            Err(ParseError::Incomplete { missing }) => {
                assert!(missing > 0 && end + missing <= case.bytes.len(), "{}, cut at {end}", case.name);
            }
            other => panic!("{}, cut at {end}: {other:?}", case.name),
        }
    }
}

/// Composes what was parsed.
fn recomposed(case: &Case) -> Vec<u8> {
    let mut bytes = Vec::new();
    if case.direction == "request" {
        let (request, _) = Request::parse(&case.bytes, &LIMITS).expect(&case.name);
        let header = request.header;
        let op = Op::from_wire(header.op).expect("a known operation");
        let options = Options::parse(request.extensions).expect("known extensions");
        let (key, value) = (request.key, request.value);
        torc_proto::native::frame::compose_request(
            &mut bytes,
            op,
            header.flags,
            header.id,
            &options,
            key,
            value,
        )
        .expect("it fits");
    } else {
        let (answer, _) = Answer::parse(&case.bytes, &LIMITS).expect(&case.name);
        let facts = ItemFacts::parse(answer.extensions).expect("known extensions");
        let mut extensions = Vec::new();
        facts.compose(&mut extensions);
        Answer { extensions: &extensions, ..answer }.compose(&mut bytes).expect("it fits");
    }
    bytes
}

#[test]
fn requests_are_parsed_cut_and_composed() {
    let cases = cases("requests.txt", "request");
    for case in &cases {
        check(case);
        assert_eq!(recomposed(case), case.bytes, "{}", case.name);
    }
    for op in Op::ALL {
        assert!(cases.iter().any(|case| case.bytes[1] == op as u8), "no vector shows {op:?}");
    }
}

#[test]
fn answers_are_parsed_cut_and_composed() {
    let cases = cases("answers.txt", "answer");
    for case in &cases {
        check(case);
        assert_eq!(recomposed(case), case.bytes, "{}", case.name);
    }
    for status in Status::ALL {
        assert!(cases.iter().any(|case| case.bytes[2] == status as u8), "no vector shows {status:?}");
    }
    for op in Op::ALL {
        assert!(cases.iter().any(|case| case.bytes[1] == op as u8 | 0x80), "no answer shows {op:?}");
    }
}

#[test]
fn odd_frames_are_read_refused_or_invalid() {
    let cases = cases("edges.txt", "");
    assert!(cases.len() > 10);
    cases.iter().for_each(check);
}

/// [N-TOPO-1]
#[test]
fn slots_of_keys() {
    let text = read("slots.txt");
    let mut count = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (slot, key) = line.split_once(' ').expect("a slot and a key");
        assert_eq!(slot_of(key.trim_matches('"').as_bytes()).to_string(), slot, "{key}");
        count += 1;
    }
    assert!(count > 5);
}

/// Every clause that the vectors cite is one of the specification.
#[test]
fn cited_clauses_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let specification = std::fs::read_to_string(folder).expect("the specification");
    for file in ["requests.txt", "answers.txt", "edges.txt"] {
        for line in read(file).lines().filter_map(|line| line.strip_prefix("clauses ").map(str::to_owned)) {
            for clause in line.split(' ') {
                assert!(specification.contains(&format!("**[{clause}]**")), "{file} cites {clause}");
            }
        }
    }
}
