//! Normalisation inside a sample: over axes (layer normalisation; Ba, Kiros and Hinton 2016, arXiv 1607.06450) or over
//! groups of channels and the whole grid (group normalisation; Wu and He 2018, arXiv 1803.08494).

use std::ops::Range;

use super::{Backward, Context, Keeps, Layer, Op, Ranges, Site, Size, WeightSpec, known};
use crate::conv::Scratch;
use crate::engine::spec::{GroupNormSpec, LayerNormSpec, ScaleSpec};
use crate::error::{Error, Result};
use crate::kernels::{Element, Tier};
use crate::norm::{self, Groups};

/// The description of either.
pub(super) struct SampleNorm {
    /// Axes that are normalised over, or the one of the channels.
    axes: Vec<isize>,
    /// Number of groups that channels are cut into; -1 is one each. None for a layer normalisation.
    groups: Option<isize>,
    scale: ScaleSpec,
}

impl SampleNorm {
    pub(super) fn layer(spec: &LayerNormSpec) -> Self {
        Self { axes: spec.axis.clone(), groups: None, scale: spec.scaling.clone() }
    }

    pub(super) fn group(spec: &GroupNormSpec) -> Self {
        Self { axes: vec![spec.axis], groups: Some(spec.groups), scale: spec.scaling.clone() }
    }

    /// Which axes of a sample are named; counted from the end, or from the batch, axis 0.
    fn named(&self, rank: usize) -> Result<Vec<bool>> {
        let mut named = vec![false; rank];
        for &axis in &self.axes {
            let at = if axis < 0 { axis + rank as isize } else { axis - 1 };
            let at = usize::try_from(at).ok().filter(|&at| at < rank && !named[at]).ok_or_else(|| {
                let expected = format!("different axes from 1 to {rank} or -{rank} to -1 (0 is the batch)");
                Error::value("axis", expected, format!("{:?}", self.axes))
            })?;
            named[at] = true;
        }
        Ok(named)
    }

    /// Sizes of the named axes.
    fn shape(&self, input: &[Size]) -> Result<Vec<usize>> {
        let named = self.named(input.len())?;
        let sizes: Vec<Size> = input.iter().zip(named).filter(|(_, named)| *named).map(|(n, _)| *n).collect();
        let sizes = known(&sizes).filter(|sizes| !sizes.contains(&0));
        sizes.ok_or_else(|| Error::shape("normalised axes", "known positive sizes", "None"))
    }

    /// Channels of a group.
    fn channels(&self, all: usize, groups: isize) -> Result<usize> {
        let groups = if groups == -1 { all } else { groups.max(0) as usize };
        if groups == 0 || !all.is_multiple_of(groups) {
            let expected = format!("channels that groups={groups} divides");
            return Err(Error::shape("input channels", expected, all));
        }
        Ok(all / groups)
    }

    fn plan(&self, input: &[usize]) -> Result<Groups> {
        let named = self.named(input.len())?;
        let Some(groups) = self.groups else {
            return Ok(Groups::new(input, &named, &named));
        };
        // The axis of the channels as two: groups, and channels of a group.
        let at = named.iter().position(|&named| named).unwrap_or(0);
        let own = self.channels(input[at], groups)?;
        let mut sizes = input.to_vec();
        sizes.splice(at..=at, [input[at] / own, own]);
        let axes = 0..sizes.len();
        let inside: Vec<bool> = axes.clone().map(|axis| axis != at).collect();
        let weighed: Vec<bool> = axes.map(|axis| axis == at || axis == at + 1).collect();
        Ok(Groups::new(&sizes, &inside, &weighed))
    }
}

impl<T: Element> Layer<T> for SampleNorm {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        self.named(input.len())?;
        Ok(input.to_vec())
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let shape = self.shape(input)?;
        if let (Some(groups), &[channels]) = (self.groups, &shape[..]) {
            self.channels(channels, groups)?;
        }
        let ScaleSpec { center, scale, gamma_initializer, beta_initializer, .. } = &self.scale;
        let gamma = scale.then(|| WeightSpec::new("gamma", shape.clone(), gamma_initializer));
        let beta = center.then(|| WeightSpec::new("beta", shape, beta_initializer));
        Ok(gamma.into_iter().chain(beta).collect())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let mut weights = site.weights.iter().cloned();
        Ok(vec![Box::new(Normalize {
            groups: self.plan(site.input)?,
            len: site.input.iter().product(),
            weights: site.weights.to_vec(),
            gamma: if self.scale.scale { weights.next() } else { None },
            beta: if self.scale.center { weights.next() } else { None },
            epsilon: self.scale.epsilon,
            tier: site.kernels.tier,
        })])
    }
}

struct Normalize {
    groups: Groups,
    /// Elements of a sample.
    len: usize,
    weights: Vec<Range<usize>>,
    gamma: Option<Range<usize>>,
    beta: Option<Range<usize>>,
    epsilon: f64,
    tier: Tier,
}

impl<T: Element> Op<T> for Normalize {
    fn output_len(&self) -> usize {
        self.len
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, ..Keeps::default() }
    }

    fn weights(&self) -> &Ranges {
        &self.weights
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], _: &mut [u8], _: &mut Scratch<T>) {
        let weights = [&self.gamma, &self.beta].map(|w| w.as_ref().map(|range| &cx.params[range.clone()]));
        for (x, y) in x[0].chunks_exact(self.len).zip(y.chunks_exact_mut(self.len)) {
            self.groups.forward(self.tier, self.epsilon, weights, x, y);
        }
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, dy, dx: [dx], grads, .. } = tensors else { return };
        let gamma = self.gamma.as_ref().map(|range| &cx.params[range.clone()]);
        let (dgamma, dbeta) = grads.split_at_mut(gamma.map_or(0, <[T]>::len));
        for (i, (x, dy)) in x[0].chunks_exact(self.len).zip(dy.chunks_exact(self.len)).enumerate() {
            let dx = dx.as_deref_mut().map(|dx| &mut dx[i * self.len..(i + 1) * self.len]);
            let (dgamma, dbeta) = (&mut *dgamma, &mut *dbeta);
            let epsilon = self.epsilon;
            self.groups.backward(self.tier, norm::Backward { epsilon, gamma, x, dy, dx, dgamma, dbeta });
        }
    }
}
