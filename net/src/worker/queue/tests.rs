use super::*;
use crate::session::PushAbout;

fn asked(room: u32) -> Asked {
    Asked { reply: ReplyKind::Push(PushAbout::Words), free: true, shards: 1, room, read_ns: 1, asked_ns: 2 }
}

fn compose(queue: &mut Queue, words: &str, read_ns: u64) {
    let room = queue.words(Vec::new);
    let before = room.len();
    room.extend_from_slice(words.as_bytes());
    queue.composed(before, read_ns, false);
}

fn fill(queue: &mut Queue, sequence: u32, words: &str) {
    let Place::Behind(asked) = queue.answered(sequence, 0) else { panic!("it is behind others") };
    let room = queue.words(Vec::new);
    let before = room.len();
    room.extend_from_slice(words.as_bytes());
    queue.fill_composed(sequence, before, asked.read_ns);
}

fn ready(queue: &mut Queue) -> Vec<(String, u32)> {
    let mut ready = Vec::new();
    while let Some(Waiting::Composed(composed)) = queue.pop_ready() {
        let words = String::from_utf8(queue.words_of(&composed).to_vec()).expect("words");
        ready.push((words, composed.parts));
    }
    ready
}

#[test]
fn composed_neighbours_of_a_turn_share_a_place() {
    let mut queue = Queue::default();
    queue.ask(asked(10), None);
    ["a", "b"].iter().for_each(|words| compose(&mut queue, words, 5));
    compose(&mut queue, "c", 6);
    queue.ask(asked(10), None);
    compose(&mut queue, "d", 6);
    assert_eq!((queue.len(), queue.end(), queue.content_bytes()), (5, 5, 24));
    assert!(matches!(queue.answered(0, 0), Place::First(_)));
    assert_eq!(ready(&mut queue), [("ab".to_owned(), 2), ("c".to_owned(), 1)]);
    assert!(queue.unused_words().is_none(), "d is needed");
    assert!(matches!(queue.answered(3, 0), Place::First(_)));
    assert_eq!(ready(&mut queue), [("d".to_owned(), 1)]);
    assert!(queue.unused_words().is_some() && queue.is_empty());
    assert_eq!((queue.content_bytes(), queue.first()), (0, 5));
}

#[test]
fn answers_that_come_out_of_order_go_out_in_order() {
    let mut queue = Queue { first: u32::MAX - 1, ..Queue::default() };
    (0..4).for_each(|_| queue.ask(asked(0), None));
    fill(&mut queue, 1, "fourth");
    fill(&mut queue, u32::MAX, "second");
    fill(&mut queue, 0, "third");
    assert!(matches!(queue.answered(7, 0), Place::None), "nobody asked");
    assert!(matches!(queue.answered(0, 0), Place::None), "it is answered");
    assert!(matches!(queue.answered(u32::MAX - 1, 0), Place::First(_)));
    assert!(ready(&mut queue).into_iter().map(|(words, _)| words).eq(["second", "third", "fourth"]));
}

/// A client that never stops asking leaves the queue never empty.
#[test]
fn words_that_are_not_needed_are_not_kept_for_ever() {
    let mut queue = Queue::default();
    queue.ask(asked(0), None);
    for number in 0..1000 {
        let words = format!("{number:0100}");
        compose(&mut queue, &words, number);
        queue.ask(asked(0), None);
        let first = queue.first();
        assert!(matches!(queue.answered(first, 0), Place::First(_)));
        compose(&mut queue, "behind", number);
        queue.unused_words();
        assert!(queue.bytes_held() < 64 << 10, "{}", queue.bytes_held());
        let ready = ready(&mut queue);
        assert_eq!(ready.last(), Some(&(words, 1)));
    }
}

#[test]
fn nothing_is_composed_beside_an_answer_that_is_not_free() {
    let mut queue = Queue::default();
    queue.ask(Asked { free: false, ..asked(0) }, None);
    assert!(!queue.composes());
    assert!(matches!(queue.answered(0, 0), Place::First(_)));
    assert!(queue.composes());
    queue.ask(asked(0), None);
    assert!(queue.composes());
}

/// What `--max-waiting` counts.
#[test]
fn a_place_is_a_question_or_a_row_of_composed_answers_of_one_turn() {
    let mut queue = Queue::default();
    for asked_so_far in 1..=10 {
        queue.ask(asked(0), None);
        for _ in 0..100 {
            compose(&mut queue, "own", 7);
        }
        assert_eq!(queue.len(), 2 * asked_so_far);
    }
    compose(&mut queue, "of the next turn", 8);
    assert_eq!(queue.len(), 21);
    for sequence in [0, 2] {
        assert!(matches!(queue.answered(sequence, 0), Place::First(_)));
        assert_eq!(ready(&mut queue), [("own".repeat(100), 100)]);
    }
    assert_eq!(queue.len(), 17);
}

/// The buffer of the words was taken away while an answer without any had its place in it.
#[test]
fn an_answer_without_words_needs_no_buffer() {
    let mut queue = Queue::default();
    queue.ask(asked(0), None);
    compose(&mut queue, "before", 5);
    queue.ask(asked(0), None);
    compose(&mut queue, "", 5);
    assert!(matches!(queue.answered(0, 0), Place::First(_)));
    assert_eq!(ready(&mut queue), [("before".to_owned(), 1)]);
    assert!(queue.unused_words().is_some());
    assert!(matches!(queue.answered(2, 0), Place::First(_)));
    assert_eq!(ready(&mut queue), [(String::new(), 1)]);
}
