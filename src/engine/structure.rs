//! What a description says about a model before anything is allocated: its graph, shapes and weights.
//!
//! Layers, and the containers that hold layers, are numbered in the order in which the description names them: a
//! container comes in front of what it holds. Containers themselves compute nothing; what is left of them is a
//! [`Merge`] where branches meet.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::layers::activity::Activity;
use super::layers::guest::Guest;
use super::layers::{self, Layer, merge};
use super::shape_text;
use super::spec::{self, LayerKind, LayerSpec, Merge, ModelSpec, Size};
use crate::error::{Error, Result};
use crate::kernels::Element;

/// Elements between weights in the flat buffers: they start on a cache line.
const ALIGN: usize = 16;

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
    Merge(Merge),
}

/// A node of the graph. Edge 0 is the input of the model; the node at `i` makes edge `i + 1`.
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
}

/// What a description says about shapes and weights, before anything is allocated.
pub struct Structure<T: Element> {
    /// In topological order.
    pub(super) nodes: Vec<Node<T>>,
    /// Edge that is the output of the model.
    pub(super) output: usize,
    /// By number; the input is number 0.
    pub(super) layers: Vec<LayerInfo>,
    pub(super) weights: Vec<Weight>,
    pub(super) initializers: Vec<spec::Initializer>,
    /// Elements of the flat buffers.
    pub(super) len: usize,
    /// Sizes of every edge.
    edges: Vec<Vec<Size>>,
    /// Who computes layers outside the engine.
    guests: Vec<Arc<dyn Guest<T>>>,
}

impl<T: Element> Structure<T> {
    /// Infers shapes and weights; `guests` are those that the description numbers.
    ///
    /// # Errors
    /// A layer does not fit its input; the message names it.
    pub fn new(spec: ModelSpec, guests: Vec<Arc<dyn Guest<T>>>) -> Result<Self> {
        let mut specs = spec.layers.into_iter();
        let Some(LayerSpec { kind: LayerKind::Input { shape: input }, name, .. }) = specs.next() else {
            return Err(Error::value("layers", "an Input in front", "none"));
        };
        if input.is_empty() || input.contains(&Some(0)) {
            return Err(Error::shape(
                name,
                "positive sizes or None, the last of them channels",
                shape_text(&input),
            ));
        }
        check_extent(&input).map_err(|error| error.in_layer(&name))?;
        let mut structure = Self {
            nodes: Vec::new(),
            output: 0,
            layers: vec![LayerInfo { name, input: input.clone(), output: input.clone(), edge: 0 }],
            weights: Vec::new(),
            initializers: Vec::new(),
            len: 0,
            edges: vec![input],
            guests,
        };
        structure.output = structure.chain(specs, 0)?;
        Ok(structure)
    }

    /// The weights, in Keras' order.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Sizes of the output, without the batch.
    pub fn output_shape(&self) -> &[Size] {
        &self.edges[self.output]
    }

    /// Adds layers one behind the other to edge `input`; returns the edge at their end.
    fn chain(&mut self, specs: impl IntoIterator<Item = LayerSpec>, input: usize) -> Result<usize> {
        specs.into_iter().try_fold(input, |edge, spec| self.add(spec, edge))
    }

    /// Adds a layer or container to edge `input`; returns the edge at its end.
    fn add(&mut self, spec: LayerSpec, input: usize) -> Result<usize> {
        let number = self.layers.len();
        let name = spec.name.clone();
        let shape = self.edges[input].clone();
        self.layers.push(LayerInfo { name: name.clone(), input: shape, output: Vec::new(), edge: 0 });
        let output = match spec.kind {
            LayerKind::Chain { layers } => self.chain(layers, input)?,
            LayerKind::Residual { layers, shortcut } => {
                let main = self.chain(layers, input)?;
                let beside = self.chain(shortcut.unwrap_or_default(), input)?;
                self.merge(Merge::Add, vec![main, beside], number).map_err(|error| error.in_layer(&name))?
            }
            LayerKind::Parallel { branches, merge } => {
                let ends = branches.into_iter().map(|branch| self.chain(branch, input));
                let ends = ends.collect::<Result<_>>()?;
                self.merge(merge, ends, number).map_err(|error| error.in_layer(&name))?
            }
            _ => self.leaf(&spec, input, number).map_err(|error| error.in_layer(&name))?,
        };
        self.layers[number].output = self.edges[output].clone();
        self.layers[number].edge = output;
        Ok(output)
    }

    fn leaf(&mut self, spec: &LayerSpec, input: usize, number: usize) -> Result<usize> {
        let layer = layers::layer::<T>(spec, &self.guests)?;
        let shape = &self.edges[input];
        let weights = layer.weights(shape)?;
        let output = layer.output_shape(shape)?;
        for weight in weights {
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
            self.len = end.next_multiple_of(ALIGN);
        }
        let edge = self.node(Operation::Layer(layer), vec![input], number, output.clone())?;
        match spec.activity {
            Some(prices) => {
                let activity = Box::new(Activity(prices));
                self.node(Operation::Layer(activity), vec![edge], number, output)
            }
            None => Ok(edge),
        }
    }

    /// Joins the ends of branches; a single one is passed on.
    fn merge(&mut self, kind: Merge, ends: Vec<usize>, number: usize) -> Result<usize> {
        let shapes: Vec<Vec<Size>> = ends.iter().map(|&edge| self.edges[edge].clone()).collect();
        match ends[..] {
            [] => Err(Error::value("branches", "at least one", 0)),
            [end] => Ok(end),
            _ => {
                let output = merge::output_shape(kind, &shapes).map_err(|error| {
                    super::fitting::advised(error, &self.nodes, Some((kind, &ends)), &self.edges[0])
                })?;
                self.node(Operation::Merge(kind), ends, number, output)
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
        Ok(self.nodes.len())
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
