//! Which sizes of the input would let branches meet, for the error that says they do not.

use super::layers::merge::{self, Join};
use super::spec::Size;
use super::structure::{Node, Operation};
use crate::error::{Error, Result};
use crate::kernels::Element;

/// Multiples that are tried; nobody pools further.
const LARGEST: usize = 256;
/// How many multiples in a row must fit: some may by chance.
const IN_A_ROW: usize = 6;

/// The error of a merge with advice: pools and strides round sizes that they do not divide, so branches that go down
/// and up again meet others for multiples of some size only.
///
/// `last` is a merge after the nodes, by its inputs.
pub(super) fn advised<T: Element>(
    error: Error,
    nodes: &[Node<T>],
    last: Option<(Join, &[usize])>,
    inputs: &[Vec<Size>],
) -> Error {
    // Inputs of different sizes may meet once they are rounded, though nothing in the graph rounds.
    let sizes = |input: &Vec<Size>| input[..input.len().saturating_sub(1)].to_vec();
    if inputs.windows(2).any(|pair| sizes(&pair[0]) != sizes(&pair[1])) {
        return error;
    }
    let fits = |multiple: usize| {
        (0..IN_A_ROW).all(|more| {
            let rounded = |size: usize| size.next_multiple_of(multiple).checked_add(more * multiple);
            let grown = |input: &Vec<Size>| {
                let (channels, axes) =
                    input.split_last().map_or((None, &[][..]), |(last, axes)| (*last, axes));
                let mut sizes: Vec<Size> = axes.iter().map(|size| size.and_then(rounded)).collect();
                sizes.push(channels);
                sizes
            };
            infer(nodes, last, inputs.iter().map(grown).collect()).is_ok()
        })
    };
    let multiple = (2..=LARGEST).find(|&multiple| fits(multiple));
    match (error, multiple) {
        (Error::Shape { op, expected, got }, Some(multiple)) => {
            let sizes = inputs.iter().flat_map(|input| &input[..input.len().saturating_sub(1)]);
            let odd: Vec<String> =
                sizes.flatten().filter(|&n| n % multiple != 0).map(ToString::to_string).collect();
            let advice = format!(
                "pools and strides round what they do not divide, so sizes of the input must be multiples of {multiple}; \
                 received {}",
                odd.join(", ")
            );
            Error::Shape { op, expected, got: format!("{got}: {advice}") }
        }
        (error, _) => error,
    }
}

/// Whether everything fits for some inputs, which become the first edges.
fn infer<T: Element>(
    nodes: &[Node<T>],
    last: Option<(Join, &[usize])>,
    mut edges: Vec<Vec<Size>>,
) -> Result<()> {
    let joined = |edges: &[Vec<Size>], join: Join, inputs: &[usize]| {
        merge::output_shape(join, &inputs.iter().map(|&edge| edges[edge].clone()).collect::<Vec<_>>())
    };
    for node in nodes {
        let output = match &node.operation {
            Operation::Layer(layer) => layer.output_shape(&edges[node.inputs[0]])?,
            Operation::Merge(join) => joined(&edges, *join, &node.inputs)?,
        };
        edges.push(output);
    }
    last.map_or(Ok(()), |(join, inputs)| joined(&edges, join, inputs).map(drop))
}
