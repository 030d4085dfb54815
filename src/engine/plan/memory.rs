//! Where the tensors of a step_plan are.
//!
//! Time counts the stages of the order of work: forward stage `k` runs at time `k`, the loss after the last of `n` at
//! time `n`, backward stage `k` at time `2 n - k`. A tensor with one time, in a stack, is local to a group of samples.
//! Inside a stack time counts ops, forward and backward alike: the tensors of a group live from the op that writes
//! them to the last that reads them, their gradients the same way back, so values and gradients of a worker never meet.

use std::ops::{Range, RangeInclusive};

use super::super::arena::{Bump, Lifetime, share};
use super::super::lowering::Lowered;
use super::{Active, Flow, Purpose, Slot, Stage, StatisticsSlots, StepPlan};
use crate::kernels::Element;

/// When things happen.
struct Times<'a> {
    stages: &'a [Stage],
    /// Number of the stage of every active op.
    stage: Vec<usize>,
}

impl<'a> Times<'a> {
    fn new(stages: &'a [Stage], ops: usize) -> Self {
        let mut stage = vec![0; ops];
        for (k, it) in stages.iter().enumerate() {
            match it {
                Stage::Stack(range) => stage[range.clone()].fill(k),
                Stage::Batch(i) | Stage::Split(i) | Stage::Custom(i) => stage[*i] = k,
            }
        }
        Self { stages, stage }
    }

    fn backward(&self, stage: usize) -> usize {
        2 * self.stages.len() - stage
    }

    fn end(&self) -> usize {
        2 * self.stages.len() + 1
    }

    /// Whether both times are the same, in a stack; then the number of its stage.
    fn stack(&self, time: &RangeInclusive<usize>) -> Option<usize> {
        let n = self.stages.len();
        let stage = if *time.start() < n { *time.start() } else { (2 * n).checked_sub(*time.start())? };
        let alone = time.start() == time.end() && *time.start() != n;
        (alone && matches!(self.stages.get(stage), Some(Stage::Stack(_)))).then_some(stage)
    }
}

/// Extends a span of time.
fn reach(span: &mut Option<RangeInclusive<usize>>, time: usize) {
    *span = Some(match span.take() {
        None => time..=time,
        Some(old) => time.min(*old.start())..=time.max(*old.end()),
    });
}

/// A tensor of a group, or a gradient that is to be added: who gets the place, and its life in ops.
enum Owner {
    Value(usize),
    Gradient(usize),
    Aside { op: usize, input: usize },
}

impl StepPlan {
    /// Gives every tensor its place.
    pub(super) fn place<T: Element>(&mut self, lowered: &Lowered<T>, stages: &[Stage]) {
        let times = Times::new(stages, self.active.len());
        self.order_flows();
        let spans = [self.value_spans(lowered, &times), self.gradient_spans(lowered, &times)];
        // Producers and last readers, in ops: the life inside a stack.
        let mut lives: Vec<Range<usize>> = vec![0..0; lowered.lens.len()];
        for (i, op) in self.active.iter().enumerate() {
            lives[op.output] = i + 1..i + 1;
            op.inputs.iter().for_each(|&t| lives[t].end = i + 1);
        }

        let mut local: Vec<Vec<(Owner, Lifetime)>> = stages.iter().map(|_| Vec::new()).collect();
        let mut local_grads: Vec<Vec<(Owner, Lifetime)>> = stages.iter().map(|_| Vec::new()).collect();
        let mut arena = Bump::default();
        let [values, grads] = spans;
        self.values = vec![Slot::None; lowered.lens.len()];
        self.grads = vec![Slot::None; lowered.lens.len()];
        let groups: Vec<[usize; 2]> = stages
            .iter()
            .map(|stage| match stage {
                Stage::Stack(range) => self.groups(lowered, range),
                _ => [1, 1],
            })
            .collect();
        let life = |t: usize, samples| Lifetime {
            len: lowered.lens[t] * samples,
            time: lives[t].start..=lives[t].end,
        };
        let mut whole: Vec<(usize, RangeInclusive<usize>)> = Vec::new();
        for (t, span) in values.into_iter().enumerate() {
            let Some(span) = span else { continue };
            match times.stack(&span).filter(|_| self.purpose != Purpose::Inspect) {
                Some(k) => local[k].push((Owner::Value(t), life(t, groups[k][0]))),
                None => whole.push((t, span)),
            }
        }
        let mut whole_grads: Vec<(usize, RangeInclusive<usize>)> = Vec::new();
        for (t, span) in grads.into_iter().enumerate() {
            let Some(span) = span else { continue };
            match times.stack(&span).filter(|_| self.purpose != Purpose::Inspect) {
                Some(k) => local_grads[k].push((Owner::Gradient(t), life(t, groups[k][1]))),
                None => whole_grads.push((t, span)),
            }
        }
        // A step that was refused is explained by its values: in training they stay where they are.
        if self.purpose != Purpose::Infer {
            for (t, _) in whole {
                self.values[t] = Slot::Batch(arena.take(lowered.lens[t] * self.batch));
            }
        } else {
            share_batch(&whole, &lowered.lens, self.batch, &mut arena, &mut self.values);
        }
        if self.purpose == Purpose::Inspect {
            for (t, _) in whole_grads {
                self.grads[t] = Slot::Batch(arena.take(lowered.lens[t] * self.batch));
            }
        } else {
            share_batch(&whole_grads, &lowered.lens, self.batch, &mut arena, &mut self.grads);
        }

        let asides = |op: &Active| op.flows.iter().any(|flow| matches!(flow, Flow::Add(_)));
        for i in 0..self.active.len() {
            if self.is_custom(lowered, i) && asides(&self.active[i]) {
                // It reads one tensor, of the whole batch.
                let len = lowered.lens[self.active[i].inputs[0]] * self.batch;
                self.active[i].flows = vec![Flow::Add(Slot::Batch(arena.take(len)))];
            }
        }
        for (i, op) in self.active.iter().enumerate().filter(|(i, _)| !self.is_custom(lowered, *i)) {
            let waits = self.waits(lowered, i);
            for (input, flow) in op.flows.iter().enumerate().filter(|(_, f)| matches!(f, Flow::Add(_))) {
                debug_assert_ne!(*flow, Flow::None);
                let own = self.op(lowered, i);
                let stage = times.stage[i] - usize::from(waits);
                let samples = match own.batch() {
                    Some(_) => self.block(own),
                    None => groups[stage][1],
                };
                let len = lowered.lens[op.inputs[input]] * samples;
                local_grads[stage]
                    .push((Owner::Aside { op: i, input }, Lifetime { len, time: i + 1..=i + 1 }));
            }
        }
        for owners in [local, local_grads].into_iter().flatten() {
            let lives: Vec<Lifetime> = owners.iter().map(|(_, life)| life.clone()).collect();
            let (places, total) = share(&lives);
            self.local_len = self.local_len.max(total);
            for ((owner, _), place) in owners.into_iter().zip(places) {
                match owner {
                    Owner::Value(t) => self.values[t] = Slot::Local(place),
                    Owner::Gradient(t) => self.grads[t] = Slot::Local(place),
                    Owner::Aside { op, input } => {
                        self.active[op].flows[input] = Flow::Add(Slot::Local(place));
                    }
                }
            }
        }
        self.place_totals(lowered, stages);
        self.place_sums(lowered, &times, &mut arena);
        if self.purpose != Purpose::Infer {
            self.partials = arena.take(lowered.partial_len);
            let chunks = self.chunks();
            for active in &mut self.active {
                if let Some(split) = &mut active.split {
                    split.partials = arena.take(split.sums() * chunks * lowered.ops[active.op].partial.len());
                }
            }
        }
        self.local = arena.0;
    }

    /// Gives every worker room for the sums of a stack's weight gradients.
    fn place_totals<T: Element>(&mut self, lowered: &Lowered<T>, stages: &[Stage]) {
        if self.purpose == Purpose::Infer {
            return;
        }
        let sums = |i: usize| &lowered.ops[self.active[i].op].sums;
        let of = |stage: &Stage| match stage {
            Stage::Stack(range) if !range.is_empty() => sums(range.end - 1).end - sums(range.start).start,
            Stage::Split(i) => sums(*i).len(),
            _ => 0,
        };
        let most = stages.iter().map(of).max().unwrap_or(0);
        let partial = |i: usize| &lowered.ops[self.active[i].op].partial;
        let buffers = stages.iter().map(|stage| match stage {
            Stage::Stack(range) if !range.is_empty() => {
                partial(range.end - 1).end - partial(range.start).start
            }
            _ => 0,
        });
        self.buffer_len = match buffers.max() {
            None | Some(0) => 0,
            Some(len) => Bump::default().take_end(len),
        };
        let mut own = Bump(self.local_len);
        self.local_sums = own.take(most);
        self.local_len = own.0;
    }

    /// The last reader of a tensor writes its gradient, which is the first of the backward pass; the others add. To an
    /// output, the loss is the last reader.
    fn order_flows(&mut self) {
        let mut written: std::collections::BTreeSet<usize> = self.outputs.iter().copied().collect();
        for op in self.active.iter_mut().rev() {
            for (flow, t) in op.flows.iter_mut().zip(&op.inputs) {
                if *flow == Flow::Write && !written.insert(*t) {
                    *flow = Flow::Add(Slot::None);
                }
            }
        }
    }

    /// From when to when the value of every tensor is needed; None for tensors that do not exist here.
    fn value_spans<T: Element>(
        &self,
        lowered: &Lowered<T>,
        times: &Times<'_>,
    ) -> Vec<Option<RangeInclusive<usize>>> {
        let mut spans = vec![None; lowered.lens.len()];
        spans[..lowered.inputs].iter_mut().for_each(|span| reach(span, 0));
        for (i, op) in self.active.iter().enumerate() {
            let k = times.stage[i];
            reach(&mut spans[op.output], k);
            op.inputs.iter().for_each(|&t| reach(&mut spans[t], k));
            let keeps = self.op(lowered, i).keeps();
            if op.backward && keeps.input {
                op.inputs.iter().for_each(|&t| reach(&mut spans[t], times.end()));
            }
            if op.backward && keeps.output {
                reach(&mut spans[op.output], times.end());
            }
        }
        self.outputs.iter().for_each(|&output| reach(&mut spans[output], times.stages.len()));
        spans
    }

    /// The same for gradients.
    fn gradient_spans<T: Element>(
        &self,
        lowered: &Lowered<T>,
        times: &Times<'_>,
    ) -> Vec<Option<RangeInclusive<usize>>> {
        let mut spans = vec![None; lowered.lens.len()];
        for (i, op) in self.active.iter().enumerate().filter(|(_, op)| op.backward) {
            let k = times.stage[i];
            reach(&mut spans[op.output], times.backward(k));
            // An op that waits ends its backward pass in the stack before it.
            let ends = times.backward(k - usize::from(self.waits(lowered, i)));
            for (t, flow) in op.inputs.iter().zip(&op.flows) {
                if *flow != Flow::None {
                    reach(&mut spans[*t], ends);
                    reach(&mut spans[op.output], ends);
                }
            }
            if !matches!(times.stages[k], Stage::Stack(_)) {
                // Its weight gradient runs in one of the later phases.
                reach(&mut spans[op.output], times.end());
            }
            if self.outputs.contains(&op.output) {
                reach(&mut spans[op.output], times.stages.len());
            }
        }
        spans
    }

    /// Coefficients and sums of the statistics ops.
    fn place_sums<T: Element>(&mut self, lowered: &Lowered<T>, times: &Times<'_>, arena: &mut Bump) {
        for i in 0..self.active.len() {
            let Some(statistics) = self.op(lowered, i).statistics().filter(|_| self.waits(lowered, i)) else {
                continue;
            };
            let input = self.active[i].inputs[0];
            let writer = self.active.iter().position(|op| op.output == input);
            let writer = &times.stages[writer.map_or(0, |writer| times.stage[writer])];
            let grain = self.written(lowered, writer).min(self.chunk);
            let counts = [self.grouped(grain), self.chunks()];
            let parts = [0, 1].map(|pass| {
                let start = self.sums_len;
                self.sums_len += counts[pass] * statistics.part_len()[pass];
                start..self.sums_len
            });
            let coefficients = arena.take(statistics.coefficients_len());
            let coefficients = coefficients..coefficients + statistics.coefficients_len();
            self.active[i].statistics = Some(StatisticsSlots { coefficients, parts, grain });
        }
    }
}

/// Places tensors of a whole batch after what the arena has.
fn share_batch(
    tensors: &[(usize, RangeInclusive<usize>)],
    lens: &[usize],
    batch: usize,
    arena: &mut Bump,
    slots: &mut [Slot],
) {
    let lives: Vec<Lifetime> =
        tensors.iter().map(|(t, time)| Lifetime { len: lens[*t] * batch, time: time.clone() }).collect();
    let (shared, total) = share(&lives);
    for ((t, _), place) in tensors.iter().zip(shared) {
        slots[*t] = Slot::Batch(arena.0 + place);
    }
    arena.0 += total;
}
