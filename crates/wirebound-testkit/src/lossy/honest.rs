//! One honest session: a browser, its jar, and page loads of nine requests with delays of their own.

use wirebound::Lifetime;
use wirebound::sequence::{Holder, Position, Rules};

use super::Posts;
use super::dice::Dice;
use super::gate::{Answer, From, Gate, Leaves, Listener};
use super::network::Network;
use super::queue::Queue;

/// Page loads of a session.
pub const LOADS: u64 = 15;
/// Requests of a page load: a document, four fetches by GET, one by POST, three images.
pub const REQUESTS: u64 = 9;
/// Chromium saves its jar so long after the first change that is not saved yet.
const COMMIT: u64 = 30_000;
const SIDES: [&str; 2] = ["v4", "v6"];

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Page,
    Fetch,
    Post,
    /// Its answer never sets a ticket.
    Image,
}

/// The requests of a page load, and how long after it begins they leave at the earliest and at the latest.
pub(super) fn page(dice: &mut Dice) -> [(u64, Asked); REQUESTS as usize] {
    let mut all = [(0, Asked::Page); REQUESTS as usize];
    for (at, request) in all.iter_mut().enumerate().skip(1) {
        let asked = match at {
            1..=4 => Asked::Fetch,
            5 => Asked::Post,
            _ => Asked::Image,
        };
        *request = (dice.between(100, 700), asked);
    }
    all
}

/// How long somebody reads a page before the next one.
pub(super) fn pause(dice: &mut Dice) -> u64 {
    if dice.happens(70) {
        return dice.between(3_600_000, 6 * 3_600_000);
    }
    about(dice, &[1_000, 5_000, 10_000, 40_000, 120_000])
}

/// About one of these: round pauses would keep step with the rules' own times.
pub(super) fn about(dice: &mut Dice, choices: &[u64]) -> u64 {
    dice.one_of(choices) * dice.between(80, 120) / 100
}

/// What became of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Honest {
    /// It was ended as stolen. Nobody stole it.
    pub accused: bool,
    /// A request was refused as `ticket_not_taken`.
    pub not_taken: bool,
    /// Requests that were served.
    pub requests: u64,
    /// Writes that an answer waited for.
    pub durable: u64,
    /// Writes that could come later.
    pub soon: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Load {
        life: u32,
    },
    Send {
        asked: Asked,
        slow: bool,
        life: u32,
    },
    Arrive(Request),
    Leave {
        request: Request,
        arrived: u64,
    },
    Set {
        ticket: Position,
        life: u32,
        place: u8,
    },
    Commit {
        life: u32,
    },
    Crash,
    Move,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    shown: Position,
    asked: Asked,
    from: From,
    slow: bool,
    /// Of the browser: each start is one.
    life: u32,
    place: u8,
}

/// Runs a session. `window` replaces the rules' own, for a control.
pub(super) fn run(
    listener: Listener,
    network: Network,
    rules: Rules,
    posts: Posts,
    window: Option<Lifetime>,
    mut dice: Dice,
) -> Honest {
    let trip = network.trip(&mut dice);
    let window = window.unwrap_or_else(|| listener.window(&rules, trip));
    let mut browser = Browser {
        listener,
        network,
        jar: Position::default(),
        saved: Position::default(),
        commit: false,
        life: 0,
        place: 0,
        loads: 0,
        crashes: turns(network == Network::Crash, 2, &mut dice),
        moves: turns(network == Network::Moves, 3, &mut dice),
        queue: Queue::new(),
    };
    let first = browser.from(&mut dice);
    let mut gate = Gate::new(rules, window, first.holder);
    browser.queue.push(300, Event::Load { life: 0 });
    let mut session = Honest::default();
    while let Some((now, event)) = browser.queue.pop() {
        match event {
            Event::Arrive(request) => match gate.judge(request.shown, request.from, now) {
                Answer::Served => browser.served(request, now, &mut dice),
                Answer::Theft => {
                    session.accused = true;
                    break;
                }
                Answer::NotTaken | Answer::Contested | Answer::Settled => {
                    session.not_taken = true;
                    break;
                }
            },
            Event::Leave { request, arrived } => {
                let leaves = match request.asked {
                    Asked::Post if posts == Posts::Change => Leaves::Changed,
                    Asked::Post => Leaves::Post,
                    Asked::Page | Asked::Fetch | Asked::Image => Leaves::Get,
                };
                let set = gate.leave(request.shown, request.from, leaves, arrived, now);
                if let Some(ticket) = set {
                    browser.answered(request, ticket, now, &mut dice);
                }
            }
            other => browser.step(other, now, &mut dice),
        }
    }
    Honest {
        requests: gate.requests,
        durable: gate.durable,
        soon: gate.soon,
        ..session
    }
}

/// At which page loads something happens that happens so often in a session.
fn turns(wanted: bool, times: u64, dice: &mut Dice) -> u64 {
    let mut loads = 0_u64;
    while wanted && u64::from(loads.count_ones()) < times {
        loads |= 1 << dice.between(1, LOADS - 2);
    }
    loads
}

struct Browser {
    listener: Listener,
    network: Network,
    jar: Position,
    saved: Position,
    commit: bool,
    life: u32,
    place: u8,
    loads: u64,
    crashes: u64,
    moves: u64,
    queue: Queue<Event>,
}

impl Browser {
    /// As whom and from where the next request goes. At the edge each place and each start of the browser is a family of
    /// its own: the worst case, a client that never resumes.
    fn from(&self, dice: &mut Dice) -> From {
        let flips = matches!(self.network, Network::Flip | Network::Apart);
        let other = flips && dice.happens(300);
        let mut line = [0; 16];
        if self.listener == Listener::Edge {
            line[0] = self.place;
            line[1] = u8::from(other && self.network == Network::Apart);
            line[2] = self.life as u8;
        }
        From {
            holder: Holder::Line(line),
            side: SIDES[usize::from(other)],
        }
    }

    fn step(&mut self, event: Event, now: u64, dice: &mut Dice) {
        match event {
            Event::Load { life } if life == self.life && self.loads < LOADS => self.load(now, dice),
            Event::Send { asked, slow, life } if life == self.life => {
                let from = self.from(dice);
                if let Some(delay) = self.network.delay(dice) {
                    let request = Request {
                        shown: self.jar,
                        asked,
                        from,
                        slow,
                        life,
                        place: self.place,
                    };
                    self.queue.push(now + delay, Event::Arrive(request));
                }
            }
            // An answer to a browser that is gone, or by a path that is gone, is lost.
            Event::Set {
                ticket,
                life,
                place,
            } if life == self.life && place == self.place => {
                self.jar = ticket;
                if !self.commit {
                    self.commit = true;
                    self.queue.push(now + COMMIT, Event::Commit { life });
                }
            }
            Event::Commit { life } if life == self.life => {
                self.commit = false;
                self.saved = self.jar;
            }
            Event::Crash => {
                self.life += 1;
                self.jar = self.saved;
                self.commit = false;
                let back = now + pause(dice);
                self.queue.push(back, Event::Load { life: self.life });
            }
            Event::Move => self.place += 1,
            _ => {}
        }
    }

    fn load(&mut self, now: u64, dice: &mut Dice) {
        let often = matches!(self.network, Network::Slow | Network::Held);
        let slow = (often && dice.happens(100)).then(|| dice.between(0, REQUESTS - 1));
        for (at, (after, asked)) in (0..).zip(page(dice)) {
            let slow = slow == Some(at);
            let life = self.life;
            self.queue
                .push(now + after, Event::Send { asked, slow, life });
        }
        if self.crashes >> self.loads & 1 == 1 {
            self.queue.push(now + dice.between(0, 45_000), Event::Crash);
        }
        if self.moves >> self.loads & 1 == 1 {
            self.queue.push(now + dice.between(0, 1_500), Event::Move);
        }
        self.loads += 1;
        let next = now + pause(dice);
        self.queue.push(next, Event::Load { life: self.life });
    }

    fn served(&mut self, request: Request, now: u64, dice: &mut Dice) {
        if request.asked == Asked::Image {
            return;
        }
        let takes = if request.slow && self.network == Network::Slow {
            dice.between(5_000, 50_000)
        } else {
            dice.between(2, 40)
        };
        let leave = Event::Leave {
            request,
            arrived: now,
        };
        self.queue.push(now + takes, leave);
    }

    fn answered(&mut self, request: Request, ticket: Position, now: u64, dice: &mut Dice) {
        let Some(delay) = self.network.delay(dice) else {
            return;
        };
        let held = if request.slow && self.network == Network::Held {
            dice.between(5_000, 50_000)
        } else {
            0
        };
        let set = Event::Set {
            ticket,
            life: request.life,
            place: request.place,
        };
        self.queue.push(now + delay + held, set);
    }
}
