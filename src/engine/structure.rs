//! What a description says about a model before anything is allocated: its graph, shapes and weights.
//!
//! Inputs, layers, and the containers that hold layers, are numbered in the order in which the description names them: a
//! container comes before what it holds. Containers themselves compute nothing; what is left of them is a [`Merge`]
//! where branches meet. A layer that is called several times has a number for each call; the first of them owns the
//! weights.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::layers::activity::Activity;
use super::layers::custom::CustomLayer;
use super::layers::merge::{self, Join};
use super::layers::{self, Layer};
use super::shape_text;
use super::spec::{self, LayerKind, LayerSpec, Merge, ModelSpec, Size};
use crate::error::{Error, Result};
use crate::kernels::Element;
use crate::tuning::LINE_ELEMENTS;

/// Elements that a sample may have anywhere in a model: arithmetic on sizes stays far from its limits.
const MOST_ELEMENTS: usize = isize::MAX as usize >> 15;

/// A weight of a network.
#[derive(Debug, Clone)]
pub struct Weight {
    /// Number of its layer in the description.
    pub layer: usize,
    /// Its name in the layer.
    pub name: Cow<'static, str>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its place in the flat buffers.
    pub range: Range<usize>,
    /// Whether it is learned at all; moving statistics are not.
    pub learned: bool,
    /// Whether the optimizer updates it.
    pub trainable: bool,
    /// What it adds to the loss.
    pub regularizer: Option<spec::Regularizer>,
    /// What it is held to after every update.
    pub constraint: Option<spec::Constraint>,
}

impl Weight {
    /// Whether its constraint may make it larger than the bound that keeps updates finite.
    pub(super) fn grows(&self) -> bool {
        self.constraint.as_ref().is_some_and(spec::Constraint::grows)
    }
}

/// What a node of the graph does.
pub(super) enum Operation<T: Element> {
    Layer(Box<dyn Layer<T>>),
    Merge(Join),
}

/// A node of the graph. The first edges are the inputs of the model; every node makes the next one.
pub(super) struct Node<T: Element> {
    pub operation: Operation<T>,
    /// Number of its layer, or container, in the description.
    pub layer: usize,
    /// Edges that it reads.
    pub inputs: Vec<usize>,
}

/// A layer or container of the description.
#[derive(Debug, Clone)]
pub struct LayerInfo {
    /// Its name.
    pub name: String,
    /// Sizes of what goes in, without the batch.
    pub input: Vec<Size>,
    /// Sizes of what comes out.
    pub output: Vec<Size>,
    /// Edge that it makes.
    pub(super) edge: usize,
    /// Number of the call that owns the weights: its own, but for further calls of a layer.
    pub(super) owner: usize,
    /// Whether it always acts as at inference.
    pub(super) inference: bool,
}

/// What a description says about shapes and weights, before anything is allocated.
pub struct Structure<T: Element> {
    /// In topological order.
    pub(super) nodes: Vec<Node<T>>,
    /// Edges that are the outputs of the model.
    pub(super) outputs: Vec<usize>,
    /// By number; the inputs come first.
    pub(super) layers: Vec<LayerInfo>,
    pub(super) weights: Vec<Weight>,
    pub(super) initializers: Vec<spec::Initializer>,
    /// Elements of the flat buffers.
    pub(super) len: usize,
    /// Number of inputs, which are the first edges.
    pub(super) inputs: usize,
    /// Sizes of every edge.
    pub(super) edges: Vec<Vec<Size>>,
    /// Layers that the engine does not compute.
    custom_layers: Vec<Arc<dyn CustomLayer<T>>>,
    /// What holds for the entry that is being added.
    entry: Entry,
}

/// What the layers of an entry of the description have in common.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// How far after its owner's number every number is.
    shift: usize,
    inference: bool,
}

impl<T: Element> Structure<T> {
    /// Infers shapes and weights; `custom_layers` are those that the description numbers.
    ///
    /// # Errors
    /// A layer does not fit its input, or reads what does not stand before it; the message names it.
    pub fn new(spec: ModelSpec, custom_layers: Vec<Arc<dyn CustomLayer<T>>>) -> Result<Self> {
        let ModelSpec { layers: specs, outputs, .. } = spec;
        let mut structure = Self {
            nodes: Vec::new(),
            outputs: Vec::new(),
            layers: Vec::new(),
            weights: Vec::new(),
            initializers: Vec::new(),
            len: 0,
            inputs: 0,
            edges: Vec::new(),
            custom_layers,
            entry: Entry::default(),
        };
        // Of every entry: its number, and the edge at its end.
        let mut entries: Vec<(usize, usize)> = Vec::new();
        for spec in specs {
            let added = match &spec.kind {
                LayerKind::Input { shape }
                    if structure.nodes.is_empty() && structure.layers.len() == entries.len() =>
                {
                    structure.input(spec.name, shape.clone())?
                }
                _ if entries.is_empty() => return Err(Error::value("layers", "an Input first", "none")),
                _ => structure.entry(spec, &entries)?,
            };
            entries.push(added);
        }
        let last =
            entries.len().checked_sub(1).ok_or_else(|| Error::value("layers", "an Input first", "none"))?;
        let edge_of = |entry: usize| entries.get(entry).map(|(_, edge)| *edge);
        let outputs = outputs.unwrap_or_else(|| vec![last]);
        structure.outputs = outputs
            .iter()
            .map(|&entry| {
                edge_of(entry).ok_or_else(|| Error::value("outputs", format!("numbers to {last}"), entry))
            })
            .collect::<Result<_>>()?;
        if structure.outputs.is_empty() {
            return Err(Error::value("outputs", "at least one", 0));
        }
        Ok(structure)
    }

    /// The weights, in Keras' order.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Sizes of an output, without the batch.
    pub fn output_shape(&self, output: usize) -> &[Size] {
        &self.edges[self.outputs[output]]
    }

    /// Sizes of what every layer makes, by number.
    pub fn output_shapes(&self) -> impl Iterator<Item = &[Size]> {
        self.layers.iter().map(|layer| &layer.output[..])
    }

    /// Adds an input; returns its number and edge.
    fn input(&mut self, name: String, shape: Vec<Size>) -> Result<(usize, usize)> {
        if shape.is_empty() || shape.contains(&Some(0)) {
            let expected = "positive sizes or None, the last of them channels";
            return Err(Error::shape(name, expected, shape_text(&shape)));
        }
        check_extent(&shape).map_err(|error| error.in_layer(&name))?;
        let edge = self.inputs;
        self.layers.push(LayerInfo {
            name,
            input: shape.clone(),
            output: shape.clone(),
            edge,
            owner: edge,
            inference: false,
        });
        self.edges.push(shape);
        self.inputs += 1;
        Ok((edge, edge))
    }

    /// Adds an entry of the description after the others; returns its number, and the edge at its end.
    fn entry(&mut self, spec: LayerSpec, entries: &[(usize, usize)]) -> Result<(usize, usize)> {
        let number = self.layers.len();
        let name = spec.name.clone();
        let before = |entry: usize| {
            let found = entries.get(entry).copied();
            let expected = || format!("entries before it, below {}", entries.len());
            found.ok_or_else(|| Error::value("inputs", expected(), entry).in_layer(&name))
        };
        let read = spec.inputs.clone().unwrap_or_else(|| vec![entries.len() - 1]);
        let inputs = read.into_iter().map(|entry| Ok(before(entry)?.1)).collect::<Result<Vec<_>>>()?;
        let shift = match spec.shares {
            None => 0,
            Some(entry) => number - self.layers[before(entry)?.0].owner,
        };
        self.entry = Entry { shift, inference: spec.inference };
        let edge = match (spec.kind.merge(), &inputs[..]) {
            (Some(kind), _) => {
                let join = Join { kind, stretches: true };
                self.announce(&spec.name, inputs.first().copied().unwrap_or(0));
                let edge = self.merge(join, inputs, number).map_err(|error| error.in_layer(&name))?;
                self.layers[number].output = self.edges[edge].clone();
                self.layers[number].edge = edge;
                edge
            }
            (None, [input]) => self.add(spec, *input)?,
            (None, _) => return Err(Error::shape(name, "1 input", inputs.len())),
        };
        self.entry = Entry::default();
        Ok((number, edge))
    }

    /// Adds layers one after the other to edge `input`; returns the edge at their end.
    fn chain(&mut self, specs: impl IntoIterator<Item = LayerSpec>, input: usize) -> Result<usize> {
        specs.into_iter().try_fold(input, |edge, spec| self.add(spec, edge))
    }

    /// Gives a layer the next number.
    fn announce(&mut self, name: &str, input: usize) {
        let Entry { shift, inference } = self.entry;
        self.layers.push(LayerInfo {
            name: name.to_string(),
            input: self.edges[input].clone(),
            output: Vec::new(),
            edge: 0,
            owner: self.layers.len() - shift,
            inference,
        });
    }

    /// Adds a layer or container to edge `input`; returns the edge at its end.
    fn add(&mut self, spec: LayerSpec, input: usize) -> Result<usize> {
        let number = self.layers.len();
        let name = spec.name.clone();
        self.announce(&name, input);
        let strict = |kind| Join { kind, stretches: false };
        let output = match spec.kind {
            LayerKind::Chain { layers } => self.chain(layers, input)?,
            LayerKind::Residual { layers, shortcut } => {
                let main = self.chain(layers, input)?;
                let beside = self.chain(shortcut.unwrap_or_default(), input)?;
                self.merge(strict(Merge::Add), vec![main, beside], number)
                    .map_err(|error| error.in_layer(&name))?
            }
            LayerKind::Parallel { branches, merge } => {
                let ends = branches.into_iter().map(|branch| self.chain(branch, input));
                let ends = ends.collect::<Result<_>>()?;
                self.merge(strict(merge), ends, number).map_err(|error| error.in_layer(&name))?
            }
            _ => self.leaf(&spec, input, number).map_err(|error| error.in_layer(&name))?,
        };
        self.layers[number].output = self.edges[output].clone();
        self.layers[number].edge = output;
        Ok(output)
    }

    fn leaf(&mut self, spec: &LayerSpec, input: usize, number: usize) -> Result<usize> {
        let layer = layers::layer::<T>(spec, &self.custom_layers)?;
        let shape = &self.edges[input];
        let weights = layer.weights(shape)?;
        let output = layer.output_shape(shape)?;
        let owner = self.layers[number].owner;
        if owner != number {
            self.check_shared(owner, &weights, shape)?;
        }
        for weight in weights.into_iter().filter(|_| owner == number) {
            let elements = weight.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
            let end =
                elements.and_then(|n| self.len.checked_add(n)).filter(|&n| n < isize::MAX as usize / 64);
            let end = end.ok_or_else(|| {
                Error::value("", "weights that fit the address space", format!("{:?}", weight.shape))
            })?;
            super::init::check(&weight.initializer, &weight.shape)?;
            let constraint = spec.constraints.get(&*weight.name).cloned().or(weight.constraint);
            constraint.iter().try_for_each(|constraint| constraint.check(&weight.shape))?;
            let regularizer = spec.regularizers.get(&*weight.name).copied().or(weight.regularizer);
            regularizer.iter().try_for_each(|regularizer| regularizer.check(&weight.shape))?;
            self.weights.push(Weight {
                layer: number,
                name: weight.name,
                shape: weight.shape,
                range: self.len..end,
                learned: weight.trainable,
                trainable: weight.trainable,
                regularizer,
                constraint,
            });
            self.initializers.push(weight.initializer);
            self.len = end.next_multiple_of(LINE_ELEMENTS);
        }
        let edge = self.node(Operation::Layer(layer), vec![input], number, output.clone())?;
        match spec.activity {
            Some(factors) => {
                let activity = Box::new(Activity(factors));
                self.node(Operation::Layer(activity), vec![edge], number, output)
            }
            None => Ok(edge),
        }
    }

    /// Checks that a further call of a layer finds the weights that the first one has made.
    fn check_shared(&self, owner: usize, weights: &[layers::WeightSpec], shape: &[Size]) -> Result<()> {
        let own: Vec<&Weight> = self.weights.iter().filter(|weight| weight.layer == owner).collect();
        let fit = own.len() == weights.len()
            && own
                .iter()
                .zip(weights)
                .all(|(own, weight)| own.shape == weight.shape && own.name == weight.name);
        if fit {
            return Ok(());
        }
        let expected = format!(
            "an input like the first one, {}: the calls share weights",
            shape_text(&self.layers[owner].input)
        );
        Err(Error::shape("input", expected, shape_text(shape)))
    }

    /// Joins the ends of branches; a single one is passed on.
    fn merge(&mut self, join: Join, ends: Vec<usize>, number: usize) -> Result<usize> {
        let shapes: Vec<Vec<Size>> = ends.iter().map(|&edge| self.edges[edge].clone()).collect();
        match ends[..] {
            [] => Err(Error::value(if join.stretches { "inputs" } else { "branches" }, "at least one", 0)),
            [end] if !join.stretches => Ok(end),
            _ => {
                let output = merge::output_shape(join, &shapes).map_err(|error| {
                    let inputs = &self.edges[..self.inputs];
                    super::fitting::advised(error, &self.nodes, Some((join, &ends)), inputs)
                })?;
                self.node(Operation::Merge(join), ends, number, output)
            }
        }
    }

    fn node(
        &mut self,
        operation: Operation<T>,
        inputs: Vec<usize>,
        layer: usize,
        output: Vec<Size>,
    ) -> Result<usize> {
        check_extent(&output)?;
        self.nodes.push(Node { operation, layer, inputs });
        self.edges.push(output);
        Ok(self.edges.len() - 1)
    }
}

/// Checks that the elements of a sample can be counted, and those of many samples too.
pub(super) fn check_extent(sizes: &[Size]) -> Result<()> {
    let elements = sizes.iter().flatten().try_fold(1usize, |n, &size| n.checked_mul(size));
    match elements.filter(|&n| n <= MOST_ELEMENTS) {
        Some(_) => Ok(()),
        None => {
            let expected = format!("samples of at most {MOST_ELEMENTS} elements");
            Err(Error::shape("output", expected, shape_text(sizes)))
        }
    }
}
