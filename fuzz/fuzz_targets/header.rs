//! Any bytes as a model file: an error, or tensors that lie inside of it.

#![no_main]

use std::fs;

use gridnn::storage::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("gridnn-fuzz-{}.gridnn", std::process::id()));
    fs::write(&path, bytes).expect("the temporary folder takes files");
    if let Ok(mut reader) = Reader::open(&path) {
        let mut held = 0;
        for entry in reader.entries.clone() {
            // Whatever the type, its bytes.
            let elements: usize = entry.shape.iter().product();
            let mut tensor = vec![0u8; elements * entry.dtype.bitsize() / 8];
            held += tensor.len();
            assert!(held <= bytes.len());
            let _ = reader.read(&mut tensor);
        }
        let _ = reader.finish();
    }
});
