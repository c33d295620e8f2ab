use crate::ends::{End, Wanted, connect};
use crate::world::{World, completion, wait};
use torc_verbs::completion::{Completion, Done, Event, Failure};
use torc_verbs::seam::{CompletionQueue, QueuePair, Verbs};
use torc_verbs::work::{Action, Payload, Piece, Work};

pub(crate) fn values_can_be_dropped_in_any_order<W: World>(world: &W) {
    let [End { pair, region, sends, receives, domain, memory, device }, other] =
        connect(world, &Wanted::default());
    other.receive(1, 0, 8);
    let number = pair.number();
    let pieces = [Piece { region: &region, at: 0, len: 8 }];
    // What the pair needs goes first, but it holds it.
    drop((device, domain, receives, memory));
    let action = Action::Send { payload: Payload::Pieces(&pieces), immediate: None };
    pair.post(&[Work { id: 2, action, signaled: true, solicited: false }]).expect("posted");
    let done = completion(world, &sends);
    assert_eq!((done.id, done.pair, done.result), (2, number, Ok(Done::Sent)));
    assert_eq!(other.received(world, 1), Ok(Done::Received { len: 8, immediate: None }));
    drop((sends, region, pair));
    drop(other);
    // And the device can be used as before.
    let ends = connect(world, &Wanted::default());
    ends[1].receive(1, 0, 8);
    ends[0].send(2, 0, 8);
    assert_eq!(ends[0].sent(world, 2), Ok(Done::Sent));
}

/// The only port of the devices here.
const PORT: u8 = 1;

/// Waits for an event, and lets others pass.
fn event<W: World>(world: &W, device: &W::Device, wanted: Event) {
    wait(world, "event", || (device.next_event().expect("events")? == wanted).then_some(()));
}

/// Events that the beginning of the device has left.
fn forget_events(device: &impl Verbs) {
    while device.next_event().expect("events").is_some() {}
}

pub(crate) fn a_link_that_comes_back_loses_nothing<W: World>(world: &W) {
    // Half a second until it is tried again, and seven times that.
    let ends = connect(world, &Wanted { change_path: |path| path.timeout = 17, ..Wanted::default() });
    let far = &ends[1].device;
    forget_events(far);
    if !world.set_link(1, false) {
        return;
    }
    event(world, far, Event::PortDown { port: PORT });
    assert!(!far.port(PORT).expect("a port").is_up);
    ends[1].receive(1, 0, 8);
    ends[0].memory.write(0, b"later on");
    ends[0].send(2, 0, 8);
    for _ in 0..100 {
        world.turn(world.now());
    }
    assert_eq!(ends[1].receives.poll(&mut [Completion::NONE]), Ok(0));
    world.set_link(1, true);
    event(world, far, Event::PortUp { port: PORT });
    assert_eq!(ends[1].received(world, 1), Ok(Done::Received { len: 8, immediate: None }));
    assert_eq!(ends[0].sent(world, 2), Ok(Done::Sent));
    assert_eq!(ends[1].memory.bytes(0, 8), b"later on");
}

pub(crate) fn a_link_that_stays_down_fails_what_is_sent<W: World>(world: &W) {
    let ends = connect(world, &Wanted { change_path: |path| path.retries = 1, ..Wanted::default() });
    if !world.set_link(1, false) {
        return;
    }
    ends[1].receive(1, 0, 8);
    ends[0].send(2, 0, 8);
    assert_eq!(ends[0].sent(world, 2), Err(Failure::NoAnswer));
    world.set_link(1, true);
    drop(ends);
    let ends = connect(world, &Wanted::default());
    ends[1].receive(1, 0, 8);
    ends[0].send(2, 0, 8);
    assert_eq!(ends[0].sent(world, 2), Ok(Done::Sent));
}

pub(crate) fn a_device_whose_link_is_down_can_be_removed_when_it_is_closed<W: World>(world: &W) {
    let ends = connect(world, &Wanted::default());
    forget_events(&ends[0].device);
    if !world.set_link(0, false) {
        return;
    }
    event(world, &ends[0].device, Event::PortDown { port: PORT });
    world.begin_removal(0, &ends[0].device);
    for _ in 0..1000 {
        world.turn(world.now());
    }
    assert!(!world.is_removed(), "somebody has it open");
    drop(ends);
    wait(world, "end of the removal", || world.is_removed().then_some(()));
    world.bring_back(0);
    world.set_link(0, true);
    let ends = connect(world, &Wanted::default());
    ends[1].receive(1, 0, 8);
    ends[0].send(2, 0, 8);
    assert_eq!(ends[0].sent(world, 2), Ok(Done::Sent));
}
