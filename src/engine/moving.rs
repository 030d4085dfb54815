//! Targets that follow the layers which move what stands at the positions of samples, or mix samples.
//!
//! Draws depend on seed, step, layer and sample alone: targets are moved by drawing again what a layer draws for the
//! inputs. They follow where it is clear what moves them: every way from an input to an output leads through the layer,
//! and grids have the same sizes from there to the next one, or to the output.

use super::layers::Random;
use super::layers::augment::Sampling;
use super::layers::moving::{Draw, Mixes, Moves, Shifts};
use super::loss::Loss;
use super::lowering::Lowered;
use super::source::{Source, Values};
use super::structure::Operation;
use super::{Data, Moving, Network, Target, View};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::memory;

/// What an output's targets have to follow.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Path {
    /// These ops, one after the other.
    Along(Vec<usize>),
    /// They cannot: a layer, and the reason.
    Refused { layer: usize, reason: String },
}

/// Sizes of the grids that targets of an output may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetGrids {
    /// Before every op that targets follow, and that of the output itself.
    pub grids: Vec<Vec<usize>>,
    /// How many of them, from the first on, are there in training, where targets follow whatever is drawn.
    pub starts: usize,
    /// Whether samples are mixed, their targets too.
    pub mixes: bool,
    /// Why targets cannot follow.
    pub refusal: Option<String>,
}

fn text(grid: &[usize]) -> String {
    let sizes: Vec<String> = grid.iter().map(ToString::to_string).collect();
    format!("({})", sizes.join(", "))
}

impl<T: Element> Lowered<T> {
    /// What targets of every output have to follow; `inputs` are the sizes of the model's.
    pub(super) fn target_paths(&self, inputs: &[Vec<usize>]) -> Vec<Path> {
        let outputs = self.outputs.iter().zip(&self.output_shapes);
        outputs.map(|(&tensor, shape)| self.target_path(inputs, tensor, shape)).collect()
    }

    /// The op that writes a tensor.
    fn makers(&self) -> Vec<Option<usize>> {
        let mut makers = vec![None; self.lens.len()];
        self.ops.iter().enumerate().for_each(|(i, op)| makers[op.output] = Some(i));
        makers
    }

    /// Which ops and which inputs a tensor depends on, but by way of op `without`.
    fn sources(&self, tensor: usize, without: Option<usize>) -> (Vec<bool>, Vec<bool>) {
        let makers = self.makers();
        let (mut ops, mut inputs) = (vec![false; self.ops.len()], vec![false; self.inputs]);
        let mut open = vec![tensor];
        while let Some(tensor) = open.pop() {
            match makers[tensor] {
                Some(op) if Some(op) != without && !ops[op] => {
                    ops[op] = true;
                    open.extend(&self.ops[op].inputs);
                }
                None if tensor < self.inputs => inputs[tensor] = true,
                _ => {}
            }
        }
        (ops, inputs)
    }

    fn target_path(&self, inputs: &[Vec<usize>], tensor: usize, shape: &[usize]) -> Path {
        let grid = &shape[..shape.len().saturating_sub(1)];
        let (needed, _) = self.sources(tensor, None);
        let counts = |&op: &usize| {
            let planned = &self.ops[op];
            let idle = planned.inference && planned.op.idle_at_inference();
            let moves = match planned.op.moves() {
                Some(Moves::Positions(_)) => !grid.is_empty(),
                Some(Moves::Samples(_)) => true,
                None => false,
            };
            needed[op] && moves && !idle
        };
        let moving: Vec<usize> = (0..self.ops.len()).filter(counts).collect();
        let refused = |op: usize, reason: String| Path::Refused { layer: self.ops[op].layer, reason };
        // What comes after the op that is looked at: sizes that it must leave, or None for any.
        let mut wanted = grid;
        for &op in moving.iter().rev() {
            let mixes = matches!(self.ops[op].op.moves(), Some(Moves::Samples(_)));
            let (_, around) = self.sources(tensor, Some(op));
            let counted = around.iter().zip(inputs).filter(|(_, sizes)| mixes || sizes.len() > 1);
            if counted.into_iter().any(|(around, _)| *around) {
                return refused(op, "not all ways from the inputs to the output lead through it".to_string());
            }
            if let Some(Moves::Positions(shifts)) = self.ops[op].op.moves() {
                let [before, after] = shifts.grids();
                if after != wanted {
                    return refused(
                        op,
                        format!(
                            "it leaves a grid of {}, and after it there is one of {}",
                            text(after),
                            text(wanted)
                        ),
                    );
                }
                wanted = before;
            }
        }
        let first =
            moving.iter().position(|&op| matches!(self.ops[op].op.moves(), Some(Moves::Positions(_))));
        let rearranged = |op: &usize| {
            let reordered =
                |i: usize| self.ops[i].op.rearranges() && self.sources(self.ops[i].inputs[0], None).0[*op];
            (0..self.ops.len()).filter(|&i| needed[i]).any(reordered)
        };
        match first.map(|first| moving[first]).filter(rearranged) {
            Some(op) => refused(op, "a layer after it changes the order of axes".to_string()),
            None => Path::Along(moving),
        }
    }

    /// The grids before the ops of a path, and after it.
    fn grids(&self, ops: &[usize], output: &[usize]) -> Vec<Vec<usize>> {
        let mut grids = vec![output[..output.len().saturating_sub(1)].to_vec()];
        for &op in ops.iter().rev() {
            let after = grids[grids.len() - 1].clone();
            grids.push(match self.ops[op].op.moves() {
                Some(Moves::Positions(shifts)) => shifts.grids()[0].to_vec(),
                _ => after,
            });
        }
        grids.reverse();
        grids
    }

    /// How many starts of a path take in all that is drawn.
    fn starts(&self, ops: &[usize]) -> usize {
        let drawn = |&op: &usize| match self.ops[op].op.moves() {
            Some(Moves::Positions(shifts)) => shifts.drawn(),
            Some(Moves::Samples(_)) => true,
            None => false,
        };
        ops.iter().position(drawn).map_or(ops.len(), |first| first) + 1
    }

    fn target_grids(&self, output: usize, name: impl Fn(usize) -> String) -> TargetGrids {
        let shape = &self.output_shapes[output];
        match &self.paths[output] {
            Path::Along(ops) => TargetGrids {
                grids: self.grids(ops, shape),
                starts: self.starts(ops),
                mixes: ops.iter().any(|&op| matches!(self.ops[op].op.moves(), Some(Moves::Samples(_)))),
                refusal: None,
            },
            Path::Refused { layer, reason } => TargetGrids {
                grids: self.grids(&[], shape),
                starts: 1,
                mixes: false,
                refusal: Some(format!("layer '{}': {reason}", name(*layer))),
            },
        }
    }
}

/// Targets of an output as a step compares with them: their elements and sizes, and weights.
pub type MovedTargets = (Vec<f64>, Vec<usize>, Option<Vec<f64>>);

/// Targets of a batch, moved.
#[derive(Debug)]
pub(super) struct Moved {
    elements: Elements,
    /// With the batch.
    shape: Vec<usize>,
    weights: Option<Vec<f64>>,
}

#[derive(Debug)]
enum Elements {
    Labels(Vec<i64>),
    Values(Vec<f64>),
}

impl Moved {
    /// The targets as a step takes them.
    pub(super) fn target<'a>(&'a self, given: &Target<'a>) -> Target<'a> {
        let values = match &self.elements {
            Elements::Labels(labels) => Values::I64(labels),
            Elements::Values(values) => Values::F64(values),
        };
        Target {
            y: Some(Source { values, shape: self.shape.clone() }),
            sample_weight: self.weights.as_deref(),
            ordered: true,
            ..given.clone()
        }
    }
}

impl<T: Element> Network<T> {
    /// Whether layers may move what targets have to follow.
    pub fn moves(&self) -> bool {
        self.nodes.iter().any(|node| match &node.operation {
            Operation::Layer(layer) => layer.moves(),
            Operation::Merge(_) => false,
        })
    }

    /// The grids that targets of every output may have, for inputs of these sizes.
    ///
    /// # Errors
    /// The inputs do not fit.
    pub fn target_grids(&mut self, inputs: &[Vec<usize>]) -> Result<Vec<TargetGrids>> {
        let plan = self.lowered_for(inputs.iter().map(Vec::as_slice), View::Step)?;
        let lowered = &self.plans[plan].lowered;
        let name = |layer: usize| self.layers[layer].name.clone();
        Ok((0..lowered.outputs.len()).map(|output| lowered.target_grids(output, name)).collect())
    }

    /// The targets of a batch as a step with these random numbers would compare with its outputs: those of every output
    /// that are not the given ones, with their sizes.
    ///
    /// # Errors
    /// Data that do not fit.
    pub fn moved_targets(&mut self, data: &Data<'_>, seed: Option<u64>) -> Result<Vec<Option<MovedTargets>>> {
        self.check_rows(data)?;
        let plan = self.lowered_for(data.x.iter().map(|x| &x.shape[1..]), View::Step)?;
        let training = seed.map(|seed| Random { seed, step: self.iterations });
        let moved = self.moved(plan, data, training)?;
        let plain = |moved: Moved| {
            let values = match moved.elements {
                Elements::Labels(labels) => labels.into_iter().map(|label| label as f64).collect(),
                Elements::Values(values) => values,
            };
            (values, moved.shape, moved.weights)
        };
        let mut moved: Vec<_> = moved.into_iter().map(|moved| moved.map(plain)).collect();
        moved.resize_with(data.targets.len(), || None);
        Ok(moved)
    }

    /// The targets of a batch that layers have moved; nothing at all if none are.
    pub(super) fn moved(
        &self,
        plan: usize,
        data: &Data<'_>,
        training: Option<Random>,
    ) -> Result<Vec<Option<Moved>>> {
        let lowered = &self.plans[plan].lowered;
        let still = |path: &Path| *path == Path::Along(Vec::new());
        let asked = data.targets.iter().any(|target| target.moving != Moving::Off);
        if !asked || lowered.paths.iter().all(still) {
            return Ok(Vec::new());
        }
        let objectives = self.compiled.iter().flat_map(|compiled| &compiled.spec.outputs);
        let outputs = objectives.zip(data.targets).zip(&lowered.output_shapes).enumerate();
        let moved = outputs.map(|(output, ((objective, target), shape))| {
            let (Some(loss), Some(y)) = (&objective.loss, &target.y) else { return Ok(None) };
            let ops = self.followed(lowered, output, (target, y), training)?;
            if ops.is_empty() {
                return Ok(None);
            }
            let rows: Vec<usize> = match data.indices {
                Some(indices) => indices.iter().map(|&row| row as usize).collect(),
                None => (0..y.rows()).collect(),
            };
            self.follow(
                lowered,
                ops,
                &Followed { loss, target, y, rows: &rows, rank: shape.len() - 1 },
                training,
            )
            .map(Some)
        });
        let moved = moved.collect::<Result<Vec<_>>>()?;
        Ok(if moved.iter().any(Option::is_some) { moved } else { Vec::new() })
    }

    /// The ops that targets of an output follow, by the sizes of their grid.
    fn followed<'l>(
        &self,
        lowered: &'l Lowered<T>,
        output: usize,
        (target, y): (&Target<'_>, &Source<'_>),
        training: Option<Random>,
    ) -> Result<&'l [usize]> {
        let shape = &lowered.output_shapes[output];
        let rank = shape.len().saturating_sub(1);
        let grid = y.shape.get(1..=rank).unwrap_or(&[]);
        let ops = match &lowered.paths[output] {
            _ if target.moving == Moving::Off => return Ok(&[]),
            // At inference targets of the output's sizes are taken for what is compared with it.
            _ if training.is_none() && grid == &shape[..rank] => return Ok(&[]),
            Path::Along(ops) => ops,
            Path::Refused { .. } if training.is_none() => return Ok(&[]),
            Path::Refused { layer, reason } => {
                let name = &self.layers[*layer].name;
                let error = Error::value("augment_targets", "layers that targets can follow", reason);
                return Err(error.in_layer(name));
            }
        };
        let grids = lowered.grids(ops, shape);
        let starts = if training.is_some() { lowered.starts(ops) } else { grids.len() };
        match grids[..starts].iter().position(|own| own == grid) {
            Some(start) => Ok(&ops[start..]),
            None => {
                let expected: Vec<String> = grids[..starts].iter().map(|grid| text(grid)).collect();
                Err(Error::shape("y", format!("positions {}", expected.join(" or ")), text(grid)))
            }
        }
    }

    fn follow(
        &self,
        lowered: &Lowered<T>,
        ops: &[usize],
        followed: &Followed<'_, '_>,
        training: Option<Random>,
    ) -> Result<Moved> {
        let Followed { loss, target, y, rows, rank } = *followed;
        let batch = rows.len();
        let mut grid: Vec<usize> = y.shape[1..=rank].to_vec();
        let positions: usize = grid.iter().product();
        let channels = y.row_len() / positions.max(1);
        let mut elements = if loss.sparse() {
            let mut labels = memory::with_room(batch * y.row_len())?;
            for &row in rows {
                for column in 0..y.row_len() {
                    labels.push(y.label(row, column)?);
                }
            }
            Elements::Labels(labels)
        } else {
            let mut values = memory::filled(0.0, batch * y.row_len())?;
            let each = values.chunks_exact_mut(y.row_len().max(1));
            rows.iter().zip(each).for_each(|(&row, values)| y.gather(row, values));
            Elements::Values(values)
        };
        let mut weights = match target.sample_weight {
            None => None,
            Some(weights) => {
                let len = weights.len() / y.rows().max(1);
                let own = rows.iter().flat_map(|&row| &weights[row * len..(row + 1) * len]);
                Some(memory::collect(own.copied())?)
            }
        };
        let smooth = target.moving == Moving::Bilinear;
        for &op in ops {
            let planned = &lowered.ops[op];
            let random = training.filter(|_| !planned.inference);
            match planned.op.moves() {
                Some(Moves::Positions(shifts)) if random.is_some() || !planned.op.idle_at_inference() => {
                    let stage = Stage { shifts, random, batch };
                    let outside = loss.ignored().unwrap_or(0);
                    elements = match elements {
                        Elements::Labels(labels) => Elements::Labels(stage.nearest(&labels, outside)?),
                        Elements::Values(values) if smooth => {
                            Elements::Values(stage.mixed(&values, channels)?)
                        }
                        Elements::Values(values) => Elements::Values(stage.spread(&values, channels)?),
                    };
                    // Nothing is known of what comes in from outside: it does not count.
                    if let Some(own) = weights.as_mut().filter(|own| own.len() > batch) {
                        *own = stage.nearest(own, 0.0)?;
                    }
                    grid = shifts.grids()[1].to_vec();
                }
                Some(Moves::Samples(mixes)) => {
                    let Some(random) = random else { continue };
                    let Elements::Values(values) = &elements else {
                        let expected = "a number for each output, not class labels: samples are mixed";
                        return Err(
                            Error::value("y", expected, "labels").in_layer(&self.layers[planned.layer].name)
                        );
                    };
                    let mixture = Mixture::of(mixes, random, batch);
                    elements = Elements::Values(mixture.mixed(values)?);
                    if let Some(own) = &mut weights {
                        *own = mixture.mixed(own)?;
                    }
                }
                _ => {}
            }
        }
        let mut shape = vec![batch];
        shape.extend(&grid);
        shape.extend(&y.shape[1 + rank..]);
        Ok(Moved { elements, shape, weights })
    }
}

/// What is moved for an output.
#[derive(Clone, Copy)]
struct Followed<'a, 'b> {
    loss: &'a Loss,
    target: &'a Target<'b>,
    y: &'a Source<'b>,
    /// Of the batch.
    rows: &'a [usize],
    /// Axes of the grid.
    rank: usize,
}

/// An op that shifts a batch.
struct Stage<'a> {
    shifts: &'a dyn Shifts,
    random: Option<Random>,
    batch: usize,
}

impl Stage<'_> {
    /// Calls `tap(output, input, weight)` for all positions of the batch.
    fn taps(&self, sampling: Sampling, mut tap: impl FnMut(usize, Option<usize>, f64)) {
        let [from, to] = self.shifts.grids().map(|grid| grid.iter().product::<usize>());
        for sample in 0..self.batch {
            let draw = Draw { random: self.random, sample };
            self.shifts.taps(draw, sampling, &mut |output, input, weight| {
                tap(sample * to + output, input.map(|input| sample * from + input), weight);
            });
        }
    }

    fn len(&self) -> usize {
        self.batch * self.shifts.grids()[1].iter().product::<usize>()
    }

    /// One number a position, from the one that is next.
    fn nearest<V: Copy>(&self, from: &[V], outside: V) -> Result<Vec<V>> {
        let mut moved = memory::filled(outside, self.len())?;
        self.taps(Sampling::Nearest, |to, input, _| moved[to] = input.map_or(outside, |input| from[input]));
        Ok(moved)
    }

    /// The same for several numbers.
    fn spread(&self, from: &[f64], channels: usize) -> Result<Vec<f64>> {
        let mut moved = memory::filled(0.0, self.len() * channels)?;
        self.taps(Sampling::Nearest, |to, input, _| {
            if let Some(input) = input {
                moved[to * channels..][..channels].copy_from_slice(&from[input * channels..][..channels]);
            }
        });
        Ok(moved)
    }

    /// Mixed from those around.
    fn mixed(&self, from: &[f64], channels: usize) -> Result<Vec<f64>> {
        let mut moved = memory::filled(0.0, self.len() * channels)?;
        self.taps(Sampling::Bilinear, |to, input, weight| {
            if let Some(input) = input {
                let from = &from[input * channels..][..channels];
                moved[to * channels..][..channels].iter_mut().zip(from).for_each(|(to, x)| *to += weight * x);
            }
        });
        Ok(moved)
    }
}

/// How samples are mixed.
struct Mixture(Vec<(usize, f64)>);

impl Mixture {
    fn of(mixes: &dyn Mixes, random: Random, batch: usize) -> Self {
        Self(mixes.mixture(random, batch))
    }

    fn mixed(&self, from: &[f64]) -> Result<Vec<f64>> {
        let len = from.len() / self.0.len().max(1);
        let mut mixed = memory::with_room(from.len())?;
        for (sample, &(other, share)) in self.0.iter().enumerate() {
            let pairs = from[sample * len..][..len].iter().zip(&from[other * len..][..len]);
            mixed.extend(pairs.map(|(own, other)| share * own + (1.0 - share) * other));
        }
        Ok(mixed)
    }
}
