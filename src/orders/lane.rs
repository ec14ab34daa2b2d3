//! The lane from the desk to the trading connection: bounded, with cancels and questions ahead of
//! new orders, and questions for fills, which have time, in turn with these. Commands are never
//! kept over a reconnect.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Permit;
use crate::types::ClientOrderId;

/// What the trading connection is asked to write.
pub(crate) enum Command {
    /// A new order, with the right to write it.
    Submit(ClientOrderId, Permit),
    /// A cancel.
    Cancel(ClientOrderId),
    /// The question how an order stands.
    Query(ClientOrderId),
    /// The question for an order's single fills.
    Fills(ClientOrderId),
}

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneState {
    /// No live connection.
    Down,
    /// Live, but orders are still being compared with the exchange's: cancels and questions only.
    Reconciling,
    /// Everything passes.
    Open,
}

pub(crate) struct Lane {
    queues: Mutex<Queues>,
    waiting: Notify,
    capacity: usize,
}

struct Queues {
    state: LaneState,
    urgent: VecDeque<Command>,
    cancels: HashSet<ClientOrderId>,
    queries: HashSet<ClientOrderId>,
    fills: VecDeque<ClientOrderId>,
    /// Whether the next turn of the two is a question for fills.
    fills_turn: bool,
    new: VecDeque<(ClientOrderId, Permit)>,
    /// New orders whose intent is being stored: each has a place kept for it.
    expected: usize,
}

/// Why a new order cannot join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneRefusal {
    NotOpen(LaneState),
    Full { capacity: usize },
}

impl Lane {
    pub(crate) fn new(capacity: usize) -> Self {
        let queues = Queues {
            state: LaneState::Down,
            urgent: VecDeque::new(),
            cancels: HashSet::new(),
            queries: HashSet::new(),
            fills: VecDeque::new(),
            fills_turn: false,
            new: VecDeque::new(),
            expected: 0,
        };
        Self { queues: Mutex::new(queues), waiting: Notify::new(), capacity }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> LaneState {
        self.queues().state
    }

    /// Sets how far the connection is. `Down` empties the lane and hands back the new orders in
    /// it, which were not written; cancels and questions are asked again after the reconnect.
    pub(crate) fn set_state(&self, state: LaneState) -> Vec<ClientOrderId> {
        let mut queues = self.queues();
        queues.state = state;
        if state != LaneState::Down {
            return Vec::new();
        }
        queues.urgent.clear();
        queues.cancels.clear();
        queues.queries.clear();
        queues.fills.clear();
        queues.new.drain(..).map(|(id, _permit)| id).collect()
    }

    /// Keeps a place for a new order that will [`submit`](Self::submit) or
    /// [`give_up`](Self::give_up).
    pub(crate) fn reserve(&self) -> Result<(), LaneRefusal> {
        let mut queues = self.queues();
        queues.accepts(self.capacity)?;
        queues.expected += 1;
        Ok(())
    }

    /// The new order will not come after all.
    pub(crate) fn give_up(&self) {
        let mut queues = self.queues();
        queues.expected = queues.expected.saturating_sub(1);
    }

    /// Queues a new order in the place that was kept for it.
    pub(crate) fn submit(&self, id: ClientOrderId, permit: Permit) -> Result<(), LaneRefusal> {
        let mut queues = self.queues();
        queues.expected = queues.expected.saturating_sub(1);
        if queues.state != LaneState::Open {
            return Err(LaneRefusal::NotOpen(queues.state));
        }
        queues.new.push_back((id, permit));
        drop(queues);
        self.waiting.notify_one();
        Ok(())
    }

    /// Queues a cancel, once for each order. Without a connection it is not kept: the desk
    /// remembers that the cancel is wanted.
    pub(crate) fn cancel(&self, id: ClientOrderId) {
        let mut queues = self.queues();
        if queues.state != LaneState::Down && queues.cancels.insert(id) {
            queues.urgent.push_back(Command::Cancel(id));
            drop(queues);
            self.waiting.notify_one();
        }
    }

    /// Queues a question, once for each order; without a connection it is not kept.
    pub(crate) fn query(&self, id: ClientOrderId) {
        let mut queues = self.queues();
        if queues.state != LaneState::Down && queues.queries.insert(id) {
            queues.urgent.push_back(Command::Query(id));
            drop(queues);
            self.waiting.notify_one();
        }
    }

    /// Queues a question for fills, once for each order; without a connection it is not kept.
    pub(crate) fn fills(&self, id: ClientOrderId) {
        let mut queues = self.queues();
        if queues.state != LaneState::Down && !queues.fills.contains(&id) {
            queues.fills.push_back(id);
            drop(queues);
            self.waiting.notify_one();
        }
    }

    /// Takes all new orders that are still waiting, which will then not be written.
    pub(crate) fn take_new(&self) -> Vec<ClientOrderId> {
        self.queues().new.drain(..).map(|(id, _permit)| id).collect()
    }

    /// The next command, cancels and questions first.
    pub(crate) fn pop(&self) -> Option<Command> {
        let mut queues = self.queues();
        if let Some(command) = queues.urgent.pop_front() {
            match &command {
                Command::Cancel(id) => queues.cancels.remove(id),
                Command::Query(id) => queues.queries.remove(id),
                Command::Fills(_) | Command::Submit(..) => false,
            };
            return Some(command);
        }
        queues.fills_turn = !queues.fills_turn || queues.new.is_empty();
        if queues.fills_turn
            && let Some(id) = queues.fills.pop_front()
        {
            return Some(Command::Fills(id));
        }
        queues.new.pop_front().map(|(id, permit)| Command::Submit(id, permit))
    }

    /// Ends when commands may be waiting. Cancel safe.
    pub(crate) async fn waiting(&self) {
        self.waiting.notified().await;
    }
}

impl Queues {
    fn accepts(&self, capacity: usize) -> Result<(), LaneRefusal> {
        if self.state != LaneState::Open {
            return Err(LaneRefusal::NotOpen(self.state));
        }
        if self.new.len() + self.expected >= capacity {
            return Err(LaneRefusal::Full { capacity });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::gate::Gate;

    fn id(text: &str) -> ClientOrderId {
        text.parse().unwrap()
    }

    #[test]
    fn cancels_overtake_new_orders_and_are_queued_once() {
        let lane = Lane::new(8);
        lane.set_state(LaneState::Open);
        let gate = Gate::new();
        lane.submit(id("new"), gate.enter().unwrap()).unwrap();
        lane.cancel(id("old"));
        lane.cancel(id("old"));
        assert!(matches!(lane.pop(), Some(Command::Cancel(found)) if found == id("old")));
        assert!(matches!(lane.pop(), Some(Command::Submit(found, _)) if found == id("new")));
        assert!(lane.pop().is_none());
    }

    #[test]
    fn questions_for_fills_yield_to_cancels_and_take_turns_with_new_orders() {
        let lane = Lane::new(8);
        lane.set_state(LaneState::Open);
        let gate = Gate::new();
        for name in ["f1", "f2", "f1"] {
            lane.fills(id(name));
        }
        for name in ["n1", "n2", "n3"] {
            lane.submit(id(name), gate.enter().unwrap()).unwrap();
        }
        lane.cancel(id("old"));
        let order: Vec<_> = std::iter::from_fn(|| lane.pop())
            .map(|command| match command {
                Command::Submit(id, _)
                | Command::Cancel(id)
                | Command::Query(id)
                | Command::Fills(id) => id.to_string(),
            })
            .collect();
        assert_eq!(order, ["old", "f1", "n1", "f2", "n2", "n3"]);
    }

    #[test]
    fn a_full_or_closed_lane_refuses_new_orders() {
        let lane = Lane::new(1);
        let gate = Gate::new();
        assert_eq!(lane.reserve(), Err(LaneRefusal::NotOpen(LaneState::Down)));
        lane.set_state(LaneState::Open);
        lane.reserve().unwrap();
        assert_eq!(lane.reserve(), Err(LaneRefusal::Full { capacity: 1 }));
        lane.give_up();
        lane.reserve().unwrap();
        lane.submit(id("a"), gate.enter().unwrap()).unwrap();
        assert_eq!(lane.reserve(), Err(LaneRefusal::Full { capacity: 1 }));
        assert_eq!(lane.set_state(LaneState::Down), vec![id("a")]);
        assert!(lane.pop().is_none());
    }
}
