//! The log as C2SP `tlog-tiles` serves it. Public: leaves are blinded.

use axum::extract::{Path, State};
use axum::response::Response;

use super::{Shared, bytes_response, problem};
use crate::files;
use crate::problem::Problem;

/// Largest tile or bundle: 256 entries of 40 bytes with their lengths, and room.
const MAX_TILE: u64 = 1 << 20;

/// `GET /log/checkpoint`.
pub(super) async fn checkpoint(State(node): Shared) -> Response {
    let text = node.log.checkpoint().to_text();
    bytes_response(200, "text/plain; charset=utf-8", text.into_bytes())
}

/// `GET /log/tile/{path}`.
pub(super) async fn tile(State(node): Shared, Path(path): Path<String>) -> Response {
    if !is_tile(&path) {
        return problem(Problem::not_found("tile"));
    }
    let path = node.home.path("log/tile").join(path);
    match files::read_capped(&path, "a tile", MAX_TILE) {
        Ok(bytes) => bytes_response(200, "application/octet-stream", bytes),
        Err(_) => problem(Problem::not_found("tile")),
    }
}

/// Whether a path is made of the parts that tile paths have, and of nothing else: a level or `entries`, then numbers of three
/// digits, `x` before all but the last, then perhaps `.p` and a width.
fn is_tile(path: &str) -> bool {
    let digits = |text: &str, least: usize, most: usize| {
        (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut parts = path.split('/');
    let level = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let (numbers, width) = match rest.as_slice() {
        [numbers @ .., width] if numbers.last().is_some_and(|last| last.ends_with(".p")) => {
            (numbers, Some(*width))
        }
        numbers => (numbers, None),
    };
    let Some((last, before)) = numbers.split_last() else {
        return false;
    };
    let last = match width {
        Some(_) => last.strip_suffix(".p").unwrap_or_default(),
        None => last,
    };
    (level == "entries" || digits(level, 1, 2))
        && before.len() <= 6
        && before.iter().all(|part| {
            part.strip_prefix('x')
                .is_some_and(|part| digits(part, 3, 3))
        })
        && digits(last, 3, 3)
        && width.is_none_or(|width| digits(width, 1, 3))
}

#[cfg(test)]
mod tests {
    use super::is_tile;

    #[test]
    fn only_tiles_are_tiles() {
        for good in [
            "0/000",
            "entries/000.p/7",
            "1/x001/x234/067",
            "0/x001/000.p/255",
        ] {
            assert!(is_tile(good), "{good}");
        }
        for bad in [
            "",
            "0",
            "..",
            "0/..",
            "../key",
            "0/../../../key",
            "entries/000.p",
            "entries/../../store",
            "0/000/1",
            "0/0000",
            "0//000",
            "entries/x001",
            "/etc/passwd",
            "0/000.p/..",
            "-1/000",
        ] {
            assert!(!is_tile(bad), "{bad}");
        }
    }
}
