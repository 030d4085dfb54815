//! How calls get at a network: alone or beside others, with or without the GIL.

use pyo3::prelude::*;

use super::super::errors::enter;
use super::{Network, Typed};
use crate::error::{Error, Result};
use crate::memory;
use crate::parallel::{Interrupt, lock};

impl Network {
    /// Runs `work` on the network, without the GIL and while nobody else is inside.
    pub(super) fn run<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Typed, Interrupt<'_>) -> Result<R> + Send,
    ) -> PyResult<R> {
        let mut raised = None;
        let result = enter(py, |interrupt| {
            let mut alone = match self.inner.alone(interrupt)? {
                Ok(alone) => alone,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let result = work(&mut alone.write(), interrupt);
            // Before the next call comes in, whose own exception would be there too.
            raised = lock(&self.raised).take();
            result.map(Ok)
        });
        match raised {
            Some(error) => Err(error),
            None => Ok(result??),
        }
    }

    /// Runs `work` without the GIL, beside other threads that do the same: it reads only. What it needs that is not
    /// `ready` is prepared alone before. Where memory for all of them is lacking it has what there is alone.
    pub(super) fn run_beside<R: Send>(
        &self,
        py: Python<'_>,
        ready: impl FnOnce(&Typed) -> Result<bool> + Send,
        prepare: impl Fn(&mut Typed, Interrupt<'_>) -> Result<()> + Sync,
        work: impl Fn(&Typed, Interrupt<'_>) -> Result<R> + Sync,
    ) -> PyResult<R> {
        let result = enter(py, |interrupt| {
            let mut place = match self.inner.read(interrupt)? {
                Ok(place) => place,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let is_ready = ready(&place.read())?;
            if !is_ready {
                drop(place);
                let mut alone = match self.inner.alone(interrupt)? {
                    Ok(alone) => alone,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                prepare(&mut alone.write(), interrupt)?;
                place = alone.reader();
            }
            let result = memory::catch(|| work(&place.read(), interrupt));
            drop(place);
            if !matches!(result, Err(Error::Memory { .. })) {
                return result.map(Ok);
            }
            let mut alone = match self.inner.alone(interrupt)? {
                Ok(alone) => alone,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let mut network = alone.write();
            with!(&mut *network, n => n.release_memory());
            prepare(&mut network, interrupt)?;
            work(&network, interrupt).map(Ok)
        });
        Ok(result??)
    }

    /// Waits for the network without holding the GIL, then changes it with the GIL: for copies in.
    pub(super) fn hold<R>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Typed) -> PyResult<R>,
    ) -> PyResult<R> {
        // Somebody else works on it and may need the GIL to finish: wait without it.
        let mut alone = match self.inner.try_alone() {
            Some(alone) => alone,
            None => enter(py, |interrupt| self.inner.alone(interrupt))??,
        };
        work(&mut alone.write())
    }

    /// The same for looking at it: for copies out.
    pub(super) fn look<R>(&self, py: Python<'_>, work: impl FnOnce(&Typed) -> PyResult<R>) -> PyResult<R> {
        let place = match self.inner.try_read() {
            Some(place) => place,
            None => enter(py, |interrupt| self.inner.read(interrupt))??,
        };
        work(&place.read())
    }
}
