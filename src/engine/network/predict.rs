//! Outputs and scores that change no weight: prepared alone, then computed by any number of threads side by side.

use super::super::layers::Random;
use super::super::plan::{Purpose, Slot};
use super::super::run::{Batch, Memory};
use super::super::source::Source;
use super::super::spec::Size;
use super::super::{Data, LayerInfo, Scores, View, shape_text};
use super::train::followed;
use super::{Extent, Network, PlanIndex};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;
use crate::parallel::Interrupt;

/// What is predicted: rows of the inputs, in batches.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The inputs, in the order of the model's.
    pub x: &'a [Source<'a>],
    /// Rows of a batch.
    pub batch_size: usize,
    /// Whether layers behave as in training, and the seed of what they draw.
    pub training: Option<u64>,
}

impl Request<'_> {
    fn purpose(&self) -> Purpose {
        if self.training.is_some() { Purpose::Train } else { Purpose::Infer }
    }

    /// The size of the batches.
    fn full(&self, rows: usize) -> usize {
        self.batch_size.clamp(1, rows.max(1))
    }

    /// The size of the last batch, if it is smaller.
    fn rest(&self, rows: usize) -> Option<usize> {
        Some(rows % self.full(rows)).filter(|&batch| batch > 0)
    }
}

impl<T: Element> Network<T> {
    /// Checks `x` against the model's inputs; returns the number of samples.
    pub(super) fn check_inputs(&self, x: &[Source<'_>]) -> Result<usize> {
        let inputs = self.inputs();
        if x.len() != inputs.len() {
            return Err(Error::shape("x", format!("{} inputs", inputs.len()), x.len()));
        }
        for (x, info) in x.iter().zip(inputs) {
            let (sizes, input) = (x.shape.get(1..).unwrap_or(&[]), &info.input);
            let fits = sizes.len() == input.len()
                && sizes.iter().zip(input).all(|(n, want)| want.is_none_or(|want| want == *n));
            if !fits || sizes.contains(&0) {
                let got: Vec<Size> = sizes.iter().map(|&n| Some(n)).collect();
                return Err(Error::shape("x", shape_text(input), shape_text(&got)));
            }
        }
        let rows = x[0].rows();
        let other = |(x, _): &(&Source<'_>, &LayerInfo)| x.rows() != rows;
        match x.iter().zip(inputs).find(other) {
            Some((other, info)) => {
                let expected = format!("{rows} samples, as {} has", inputs[0].name);
                Err(Error::shape(format!("x: {}", info.name), expected, other.rows()))
            }
            None => Ok(rows),
        }
    }

    /// All outputs of all rows, and their shapes.
    ///
    /// # Errors
    /// Data that do not fit, an interrupt.
    pub fn predict(
        &mut self,
        x: &[Source<'_>],
        batch_size: usize,
        training: Option<u64>,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<(Vec<T>, Vec<usize>)>> {
        let request = Request { x, batch_size, training };
        self.prepare(request, interrupt)?;
        self.predict_prepared(request, interrupt)
    }

    /// Whether nothing is left to prepare for a request, which other threads may then share the network with.
    ///
    /// # Errors
    /// Data that do not fit.
    pub fn is_prepared(&self, request: Request<'_>) -> Result<bool> {
        let rows = self.check_inputs(request.x)?;
        let found = |batch| self.found(request.x, batch, request.purpose(), View::Step);
        let rest = request.rest(rows).is_none_or(|rest| found(rest).is_some());
        Ok(rest && found(request.full(rows)).is_some_and(|at| self.is_ready(at)))
    }

    /// Whether a plan finds its packed weights, and no memory that is far too much for it.
    fn is_ready(&self, at: PlanIndex) -> bool {
        let step_plan = &self.plans[at.0].step_plans[at.1];
        self.is_packed(at, Extent::Outputs) && !self.memories.much_for(step_plan)
    }

    /// Plans a request and packs the weights for it.
    ///
    /// # Errors
    /// Data that do not fit, no memory, an interrupt.
    pub fn prepare(&mut self, request: Request<'_>, interrupt: Interrupt<'_>) -> Result<()> {
        let rows = self.check_inputs(request.x)?;
        let mut memory = self.memories.take();
        let full = (request.x, request.full(rows));
        let prepared = self.prepare_batch(&mut memory, full, request.purpose(), interrupt);
        self.memories.give(memory);
        if let Some(rest) = request.rest(rows) {
            self.plan(request.x, rest, request.purpose(), View::Step)?;
        }
        prepared
    }

    fn prepare_batch(
        &mut self,
        memory: &mut Memory<T>,
        (x, batch): (&[Source<'_>], usize),
        purpose: Purpose,
        interrupt: Interrupt<'_>,
    ) -> Result<()> {
        let at = self.plan(x, batch, purpose, View::Step)?;
        let at = self.give_back(memory, at);
        if self.is_packed(at, Extent::Outputs) {
            return Ok(());
        }
        let data = Batch { x, targets: &[], indices: None, first: 0 };
        self.execute(memory, at, data, Extent::Pack, None, interrupt)
    }

    /// The outputs of a request that is prepared. Several threads may call this at once.
    ///
    /// # Errors
    /// Data that do not fit, no memory, an interrupt.
    pub fn predict_prepared(
        &self,
        request: Request<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<(Vec<T>, Vec<usize>)>> {
        let mut memory = self.memories.take();
        let results = self.predict_in(&mut memory, request, interrupt);
        self.memories.give(memory);
        results
    }

    fn predict_in(
        &self,
        memory: &mut Memory<T>,
        request: Request<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<(Vec<T>, Vec<usize>)>> {
        let Request { x, training, .. } = request;
        let rows = self.check_inputs(x)?;
        let full = request.full(rows);
        let planned = |batch: usize| {
            let found = self.found(x, batch, request.purpose(), View::Step);
            found.ok_or_else(|| Error::internal("a prediction that was not prepared"))
        };
        let training = training.map(|seed| Random { seed, step: self.iterations });
        let (plan, _) = planned(full)?;
        let mut results = Vec::new();
        for shape in &self.plans[plan].lowered.output_shapes {
            let shape: Vec<usize> = std::iter::once(rows).chain(shape.iter().copied()).collect();
            let len = shape.iter().fold(1usize, |len, &size| len.saturating_mul(size));
            results.push((memory::filled(T::ZERO, len)?, shape));
        }
        for first in (0..rows).step_by(full) {
            let batch = full.min(rows - first);
            let at = planned(batch)?;
            let data = Batch { x, targets: &[], indices: None, first };
            self.execute_shared(memory, at, data, Extent::Outputs, training, interrupt)?;
            let ready = &self.plans[at.0].step_plans[at.1];
            for (&output, (result, shape)) in ready.outputs.iter().zip(&mut results) {
                if let Slot::Batch(start) = ready.values[output] {
                    let len: usize = shape[1..].iter().product();
                    let values = &memory.arena.get_mut()[start..start + batch * len];
                    result[first * len..(first + batch) * len].copy_from_slice(values);
                }
            }
            if first + batch < rows && interrupt() {
                return Err(Error::Interrupted);
            }
        }
        Ok(results)
    }

    /// Whether nothing is left to prepare for [`Network::evaluate_prepared`].
    ///
    /// # Errors
    /// Data that do not fit.
    pub fn is_prepared_to_evaluate(&self, data: &Data<'_>) -> Result<bool> {
        let batch = self.check_rows(data)?;
        let found = self.found(data.x, batch, Purpose::Infer, View::Step);
        Ok(data.custom.is_none()
            && self.penalty.0 == self.version
            && found.is_some_and(|at| self.is_ready(at)))
    }

    /// Plans [`Network::evaluate_prepared`] and packs the weights for it.
    ///
    /// # Errors
    /// Data that do not fit, no memory, an interrupt.
    pub fn prepare_to_evaluate(&mut self, data: &Data<'_>, interrupt: Interrupt<'_>) -> Result<()> {
        let batch = self.check_rows(data)?;
        self.penalty(interrupt)?;
        let mut memory = self.memories.take();
        let prepared = self.prepare_batch(&mut memory, (data.x, batch), Purpose::Infer, interrupt);
        self.memories.give(memory);
        prepared
    }

    /// Loss and metrics in inference mode, prepared and without custom losses. Several threads may call this at once.
    ///
    /// # Errors
    /// Data that do not fit, no memory, an interrupt.
    pub fn evaluate_prepared(&self, data: &Data<'_>, interrupt: Interrupt<'_>) -> Result<Scores> {
        let batch = self.check_rows(data)?;
        let found = self.found(data.x, batch, Purpose::Infer, View::Step);
        let at = found.ok_or_else(|| Error::internal("an evaluation that was not prepared"))?;
        let mut memory = self.memories.take();
        let scored = self.evaluate_in(&mut memory, at, data, interrupt);
        self.memories.give(memory);
        scored
    }

    fn evaluate_in(
        &self,
        memory: &mut Memory<T>,
        at: PlanIndex,
        data: &Data<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<Scores> {
        let moved = self.moved(at.0, data, None)?;
        let targets = followed(&moved, data);
        let data = &Data { targets: targets.as_deref().unwrap_or(data.targets), ..*data };
        let mut scorings = std::mem::take(&mut memory.scorings);
        scorings.clear();
        self.scorings(memory, at, data, &mut scorings)?;
        self.check_objectives(&scorings)?;
        let batch = Batch { x: data.x, targets: data.targets, indices: data.indices, first: 0 };
        let extent = Extent::Scores { rates: None, scorings: &scorings, custom: false };
        self.execute_shared(memory, at, batch, extent, None, interrupt)?;
        let scores = self.scores(memory, at, &scorings, self.penalty.1);
        memory.scorings = scorings;
        scores
    }
}
