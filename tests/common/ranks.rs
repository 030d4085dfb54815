//! Ranks that are threads: what goes from one to the others lies on boards, which are read between two meetings.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use gridnn::engine::{Payload, Peers};
use gridnn::error::{Error, Result};

/// Where the ranks meet.
pub struct Hub {
    boards: Vec<Mutex<Vec<u8>>>,
    /// How many have come to the meeting, and its number.
    met: Mutex<(usize, usize)>,
    all: Condvar,
}

impl Hub {
    /// The ranks.
    pub fn ranks(size: usize) -> Vec<Arc<dyn Peers>> {
        let boards = (0..size).map(|_| Mutex::default()).collect();
        let hub = Arc::new(Self { boards, met: Mutex::default(), all: Condvar::new() });
        let rank = |rank| Arc::new(Rank { hub: Arc::clone(&hub), rank }) as Arc<dyn Peers>;
        (0..size).map(rank).collect()
    }

    fn meet(&self) -> Result<()> {
        let mut met = self.met.lock().unwrap();
        let meeting = met.1;
        met.0 += 1;
        if met.0 == self.boards.len() {
            *met = (0, meeting + 1);
            self.all.notify_all();
            return Ok(());
        }
        let (_met, wait) =
            self.all.wait_timeout_while(met, Duration::from_secs(30), |met| met.1 == meeting).unwrap();
        if wait.timed_out() { Err(Error::internal("a rank does not come")) } else { Ok(()) }
    }
}

struct Rank {
    hub: Arc<Hub>,
    rank: usize,
}

/// Part `r` of parts that end where they are told.
fn part(ends: &[usize], r: usize) -> Range<usize> {
    r.checked_sub(1).map_or(0, |before| ends[before])..ends[r]
}

impl Peers for Rank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.hub.boards.len()
    }

    fn gather(&self, ends: &[usize], payload: &mut dyn Payload) -> Result<()> {
        let mut own = vec![0; part(ends, self.rank).len()];
        payload.pack(&mut own);
        *self.hub.boards[self.rank].lock().unwrap() = own;
        self.hub.meet()?;
        let boards: Vec<Vec<u8>> =
            self.hub.boards.iter().map(|board| board.lock().unwrap().clone()).collect();
        for (rank, board) in boards.iter().enumerate() {
            assert_eq!(board.len(), part(ends, rank).len());
        }
        payload.unpack(&boards.iter().map(|board| &board[..]).collect::<Vec<_>>());
        self.hub.meet()
    }

    fn exchange(&self, [send_ends, receive_ends]: [&[usize]; 2], payload: &mut dyn Payload) -> Result<()> {
        // What is for whom stands in front.
        let mut board: Vec<u8> = send_ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        let front = board.len();
        board.resize(front + send_ends.last().unwrap(), 0);
        payload.pack(&mut board[front..]);
        *self.hub.boards[self.rank].lock().unwrap() = board;
        self.hub.meet()?;
        let mut received = Vec::new();
        for (rank, board) in self.hub.boards.iter().enumerate() {
            let board = board.lock().unwrap();
            let (front, sent) = board.split_at(self.size() * size_of::<usize>());
            let ends: Vec<usize> = front
                .chunks_exact(size_of::<usize>())
                .map(|end| usize::from_le_bytes(end.try_into().unwrap()))
                .collect();
            received.push(sent[part(&ends, self.rank)].to_vec());
            assert_eq!(received[rank].len(), part(receive_ends, rank).len());
        }
        payload.unpack(&received.iter().map(|part| &part[..]).collect::<Vec<_>>());
        self.hub.meet()
    }
}
