//! What a description says about a model before anything is allocated: shapes and weights.

use std::ops::Range;

use super::layers::{self, Layer};
use super::shape_text;
use super::spec::{self, LayerKind, LayerSpec, ModelSpec, Size};
use crate::error::{Error, Result};
use crate::kernels::Element;

/// Elements between weights in the flat buffers: they start on a cache line.
const ALIGN: usize = 16;

/// A weight of a network.
#[derive(Debug, Clone)]
pub struct Weight {
    /// Position of its layer in the description.
    pub layer: usize,
    /// Its name in the layer.
    pub name: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its place in the flat buffers.
    pub range: Range<usize>,
    /// Whether the optimizer updates it.
    pub trainable: bool,
}

/// What a description says about shapes and weights, before anything is allocated.
pub struct Structure<T: Element> {
    pub(super) specs: Vec<LayerSpec>,
    pub(super) layers: Vec<Box<dyn Layer<T>>>,
    pub(super) input: Vec<Size>,
    pub(super) output_shapes: Vec<Vec<Size>>,
    pub(super) weights: Vec<Weight>,
    pub(super) initializers: Vec<spec::Initializer>,
    /// Elements of the flat buffers.
    pub(super) len: usize,
}

impl<T: Element> Structure<T> {
    /// Infers shapes and weights.
    ///
    /// # Errors
    /// A layer does not fit its input; the message names it.
    pub fn new(spec: ModelSpec) -> Result<Self> {
        let mut specs = spec.layers.into_iter();
        let Some(LayerSpec { kind: LayerKind::Input { shape: input }, name }) = specs.next() else {
            return Err(Error::value("layers", "an Input in front", "none"));
        };
        if input.is_empty() || input.contains(&Some(0)) {
            return Err(Error::shape(
                name,
                "positive sizes or None, the last of them channels",
                shape_text(&input),
            ));
        }
        let specs: Vec<LayerSpec> = specs.collect();
        let mut layers = Vec::with_capacity(specs.len());
        let mut weights: Vec<Weight> = Vec::new();
        let mut initializers = Vec::new();
        let mut output_shapes = vec![input.clone()];
        let mut len: usize = 0;
        for (i, spec) in specs.iter().enumerate() {
            let shape = &output_shapes[i];
            let locate = |error: Error| error.in_layer(&spec.name);
            let layer = layers::layer::<T>(spec).map_err(locate)?;
            for weight in layer.weights(shape).map_err(locate)? {
                let elements = weight.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
                let end = elements.and_then(|n| len.checked_add(n)).filter(|&n| n < isize::MAX as usize / 64);
                let end = end.ok_or_else(|| {
                    Error::value(
                        &spec.name,
                        "weights that fit the address space",
                        format!("{:?}", weight.shape),
                    )
                })?;
                weights.push(Weight {
                    layer: i + 1,
                    name: weight.name,
                    shape: weight.shape,
                    range: len..end,
                    trainable: true,
                });
                initializers.push(weight.initializer);
                len = end.next_multiple_of(ALIGN);
            }
            let output = layer.output_shape(shape).map_err(locate)?;
            output_shapes.push(output);
            layers.push(layer);
        }
        Ok(Self { specs, layers, input, output_shapes, weights, initializers, len })
    }

    /// The weights, in Keras' order.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }
}
