//! Input files: `.npy`, `.json`, `.png`, and ONNX tensors (`.pb`). Sizes are checked before anything is read.

use super::EdgeError;
use carat_program::edge::{
    InputEdge, Values, array_from_npy, encode_image, inputs_from_json, json_array,
};
use std::{fs::File, io::Read, path::Path};

/// Largest input file that is read (1 GiB).
const MAX_INPUT_BYTES: u64 = 1 << 30;
/// Most bytes of pixels that an image is unpacked to: a header of a few bytes may claim terabytes.
const MAX_PIXEL_BYTES: usize = 256 << 20;

fn format(path: &Path, reason: impl ToString) -> EdgeError {
    EdgeError::Format {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EdgeError> {
    let io = |error| EdgeError::Io {
        path: path.display().to_string(),
        error,
    };
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length > MAX_INPUT_BYTES {
        return Err(format(
            path,
            format!("has {length} bytes; at most {MAX_INPUT_BYTES} are read"),
        ));
    }
    let mut bytes = Vec::new();
    file.by_ref()
        .take(MAX_INPUT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(bytes)
}

/// Reads one array from a `.npy`, `.json` or `.pb` file.
///
/// # Errors
/// [`EdgeError`] naming the file.
pub fn read_array(path: &Path) -> Result<Values, EdgeError> {
    let bytes = read(path)?;
    match extension(path).as_str() {
        "npy" => array_from_npy(&bytes).map_err(|e| format(path, e)),
        "pb" => {
            let (_, a) = crate::import::decode_tensor_file(&bytes).map_err(|e| format(path, e))?;
            Ok(Values {
                dims: a.dims,
                data: a.data,
            })
        }
        "json" => {
            let json: serde_json::Value =
                serde_json::from_slice(&bytes).map_err(|e| format(path, e))?;
            json_array(&json).map_err(|e| format(path, e))
        }
        other => Err(format(
            path,
            format!("files of type `.{other}` are not read; give .npy, .json or .png"),
        )),
    }
}

/// Reads the inputs of a program from one file. A JSON object names its inputs; anything else is the only input.
///
/// # Errors
/// [`EdgeError`].
pub fn read_input_file<I: InputEdge>(inputs: &[I], path: &Path) -> Result<Vec<Values>, EdgeError> {
    match extension(path).as_str() {
        "png" | "json" => inputs_from_file(inputs, path, &read(path)?),
        _ => Ok(vec![read_array(path)?]),
    }
}

/// The inputs of a program from the bytes of a `.png`, `.json` or `.npy` file; the name says which, and stands in errors.
///
/// # Errors
/// [`EdgeError`].
pub fn inputs_from_file<I: InputEdge>(
    inputs: &[I],
    name: &Path,
    bytes: &[u8],
) -> Result<Vec<Values>, EdgeError> {
    match extension(name).as_str() {
        "png" => {
            let [spec] = inputs else {
                return Err(format(
                    name,
                    "the model takes several inputs; give a .json file",
                ));
            };
            let (width, height, channels, pixels) = png(name, bytes)?;
            let data = encode_image(spec, width, height, channels, &pixels)?;
            Ok(vec![Values {
                dims: spec.dims(),
                data,
            }])
        }
        "json" => {
            let json: serde_json::Value =
                serde_json::from_slice(bytes).map_err(|e| format(name, e))?;
            inputs_from_json(inputs, &json).map_err(|e| format(name, e))
        }
        "npy" => Ok(vec![array_from_npy(bytes).map_err(|e| format(name, e))?]),
        other => Err(format(
            name,
            format!("files of type `.{other}` are not read; give .npy, .json or .png"),
        )),
    }
}

fn extension(path: &Path) -> String {
    path.extension()
        .and_then(|e| e.to_str())
        .unwrap_or("")
        .to_ascii_lowercase()
}

fn png(path: &Path, bytes: &[u8]) -> Result<(usize, usize, usize, Vec<u8>), EdgeError> {
    let fail = |e: png::DecodingError| format(path, e);
    let mut decoder = png::Decoder::new_with_limits(
        std::io::Cursor::new(bytes),
        png::Limits {
            bytes: MAX_PIXEL_BYTES,
        },
    );
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(fail)?;
    // The decoder's own limit does not cover the buffer that it is given.
    let size = reader
        .output_buffer_size()
        .filter(|&size| size <= MAX_PIXEL_BYTES)
        .ok_or_else(|| format(path, "the image is too large"))?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(fail)?;
    pixels.truncate(info.buffer_size());
    let channels = info.color_type.samples();
    // Grey with alpha: keep the grey.
    if channels == 2 {
        pixels = pixels.chunks_exact(2).map(|p| p[0]).collect();
        return Ok((info.width as usize, info.height as usize, 1, pixels));
    }
    Ok((info.width as usize, info.height as usize, channels, pixels))
}
