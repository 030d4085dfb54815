//! Files of other programs, by the bytes that they begin with.

const WEIGHTS: &str = "gridnn reads files that it wrote itself: make the same layers in gridnn and give them the other \
                       model's arrays with set_weights";

const MODELS: &str = "a model is loaded from what its save wrote (.gridnn) or from a .keras or .safetensors file, and \
                      with gridnn.from_onnx from an ONNX file";

const ONNX: &str =
    "gridnn.from_onnx reads ONNX files, and this is one; a model of yours takes arrays of it by set_weights";

/// What a file that begins with `start` is, and what to do; None if it is not known.
pub(super) fn name(start: &[u8]) -> Option<String> {
    let kind = match start {
        [0x89, b'H', b'D', b'F', ..] => "an HDF5 file (.h5, as older versions of Keras write)",
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "a zip archive (a .keras file, a PyTorch file or .npz)",
        [0x80, 2..=5, ..] => "a pickle (of Python or an older PyTorch)",
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => "a NumPy array (.npy)",
        [0x1f, 0x8b, ..] => "compressed with gzip",
        [b'G', b'G', b'U', b'F', ..] => "a GGUF file",
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => "a TensorFlow Lite file",
        // The number of ONNX' version, then the name of the program that wrote it.
        [0x08, 1..=30, 0x12, ..] => return Some(ONNX.into()),
        _ => return data(start).map(|kind| format!("this is {kind}, and no model: {MODELS}")),
    };
    Some(format!("this is {kind}. {WEIGHTS}"))
}

/// What holds samples instead of a model.
fn data(start: &[u8]) -> Option<&'static str> {
    Some(match start {
        [0xff, 0xd8, 0xff, ..] => "a JPEG image",
        [0x89, b'P', b'N', b'G', ..] => "a PNG image",
        [b'G', b'I', b'F', b'8', ..] => "a GIF image",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "a TIFF image",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => "a sound (WAV)",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "a WebP image",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        // The length of a header, which our files begin with, has zeros in its eight bytes.
        _ if start.len() >= 8
            && start.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')) =>
        {
            "a text"
        }
        _ => return None,
    })
}
