//! Which processors helpers may run on: all but the caller's.
//!
//! A thread that wakes another one pulls it to its own processor where Linux thinks that nothing better is free. On a
//! virtual machine that is nearly always, because a processor that idles has been given back to the host and does not
//! count as free. Measured on two virtual processors: after a pause of 40 ms the helper woke up on the caller's
//! processor in 60 percent of the calls, and stayed for milliseconds. A helper that may not run there is left where it
//! was.

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// The helpers, and the processor that they keep off.
    #[derive(Debug, Default)]
    pub(in super::super) struct Helpers {
        threads: Vec<Pid>,
        /// The calling thread's processor when it was last seen to, and the helpers there were.
        avoided: Option<(usize, usize)>,
    }

    impl Helpers {
        /// Makes room for `most` helpers.
        pub(in super::super) fn reserve(&mut self, most: usize) {
            self.threads.reserve(most.saturating_sub(self.threads.len()));
        }

        /// Records the calling thread as a helper.
        pub(in super::super) fn join(&mut self) {
            self.threads.push(gettid());
        }

        /// Sends the helpers away from the processor of the calling thread.
        ///
        /// They get the processors that the caller may use, without that one. If those are fewer than the helpers, or
        /// if the system refuses, they stay as they are: this is about speed alone.
        pub(in super::super) fn keep_off_caller(&mut self) {
            let here = (sched_getcpu(), self.threads.len());
            if self.avoided == Some(here) {
                return;
            }
            self.avoided = Some(here);
            let Ok(mut others) = sched_getaffinity(None) else { return };
            others.unset(here.0);
            if (others.count() as usize) < self.threads.len() {
                return;
            }
            for &thread in &self.threads {
                // Nothing to be done about a refusal.
                let _ = sched_setaffinity(Some(thread), &others);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::sync::{Mutex, mpsc};

        use super::*;

        #[test]
        fn a_helper_may_run_on_all_processors_but_the_callers() {
            let helpers = &Mutex::new(Helpers::default());
            let (end, ended) = mpsc::channel::<()>();
            let (joined, has_joined) = mpsc::channel();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    helpers.lock().unwrap().join();
                    joined.send(()).unwrap();
                    // Lives until `end` is dropped.
                    assert!(ended.recv().is_err());
                });
                has_joined.recv().unwrap();
                let mut helpers = helpers.lock().unwrap();
                helpers.keep_off_caller();
                let (caller, _) = helpers.avoided.unwrap();
                let own = sched_getaffinity(None).unwrap();
                let allowed = sched_getaffinity(Some(helpers.threads[0])).unwrap();
                let mut others = own;
                others.unset(caller);
                // A machine with one processor has no better place for a helper.
                assert_eq!(allowed, if others.count() > 0 { others } else { own });
                drop(end);
            });
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::Helpers;

/// Elsewhere the system places threads as it likes.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Default)]
pub(super) struct Helpers;

#[cfg(not(target_os = "linux"))]
impl Helpers {
    pub(super) fn reserve(&mut self, _most: usize) {}
    pub(super) fn join(&mut self) {}
    pub(super) fn keep_off_caller(&mut self) {}
}
