//! One filter graph with one way in and one way out, rebuilt when the pictures going in change their size or format.

use ffmpeg_next as ffmpeg;

use ffmpeg::{Rational, filter, format, frame};

use super::{encode_failed, raw};
use crate::media::{MediaError, MediaErrorCode};

/// What goes into a graph, as far as the graph depends on it.
#[derive(Debug, Clone, PartialEq)]
struct Shape {
    width: u32,
    height: u32,
    format: format::Pixel,
}

/// Filters for pictures.
pub(crate) struct PictureGraph {
    filters: String,
    time_base: Rational,
    built: Option<(Shape, filter::Graph)>,
}

impl PictureGraph {
    /// A graph of `filters` (as on FFmpeg's command line) for pictures whose time stamps are in `time_base`.
    pub(crate) fn new(filters: String, time_base: Rational) -> Self {
        Self {
            filters,
            time_base,
            built: None,
        }
    }

    /// Filters one picture.
    pub(crate) fn run(&mut self, picture: &frame::Video) -> Result<frame::Video, MediaError> {
        let shape = Shape {
            width: picture.width(),
            height: picture.height(),
            format: picture.format(),
        };
        let graph = match &mut self.built {
            Some((known, graph)) if *known == shape => graph,
            slot => {
                let graph = build(&shape, self.time_base, &self.filters)?;
                &mut slot.insert((shape, graph)).1
            }
        };
        let broken = encode_failed("picture filters");
        let gone = || MediaError::new(MediaErrorCode::EncodeFailed, "picture filters: no end");
        graph
            .get("in")
            .ok_or_else(gone)?
            .source()
            .add(&raw::share(picture))
            .map_err(&broken)?;
        let mut out = frame::Video::empty();
        graph
            .get("out")
            .ok_or_else(gone)?
            .sink()
            .frame(&mut out)
            .map_err(&broken)?;
        Ok(out)
    }
}

fn build(shape: &Shape, time_base: Rational, filters: &str) -> Result<filter::Graph, MediaError> {
    let Some(name) = shape.format.descriptor().map(|d| d.name()) else {
        return Err(MediaError::new(
            MediaErrorCode::CorruptMedia,
            "pictures of an unknown format",
        ));
    };
    let args = format!(
        "video_size={}x{}:pix_fmt={}:time_base={}/{}:pixel_aspect=1/1",
        shape.width,
        shape.height,
        name,
        time_base.numerator(),
        time_base.denominator().max(1),
    );
    linear("buffer", &args, "buffersink", filters)
}

/// A graph from one source to one sink, `in` and `out`, through `filters`.
pub(crate) fn linear(
    source: &str,
    args: &str,
    sink: &str,
    filters: &str,
) -> Result<filter::Graph, MediaError> {
    let broken = encode_failed("filters");
    let mut graph = filter::Graph::new();
    raw::single_threaded(&mut graph);
    graph.add(&find(source)?, "in", args).map_err(&broken)?;
    graph.add(&find(sink)?, "out", "").map_err(&broken)?;
    graph
        .output("in", 0)
        .and_then(|parser| parser.input("out", 0))
        .and_then(|parser| parser.parse(filters))
        .map_err(&broken)?;
    graph.validate().map_err(&broken)?;
    Ok(graph)
}

/// A graph whose filters begin with a source of their own, and end in a sink called `out`.
pub(crate) fn sources_only(sink: &str, filters: &str) -> Result<filter::Graph, MediaError> {
    let broken = encode_failed("sources");
    let mut graph = filter::Graph::new();
    raw::single_threaded(&mut graph);
    graph.add(&find(sink)?, "out", "").map_err(&broken)?;
    graph
        .input("out", 0)
        .and_then(|parser| parser.parse(filters))
        .map_err(&broken)?;
    graph.validate().map_err(&broken)?;
    Ok(graph)
}

fn find(name: &str) -> Result<filter::Filter, MediaError> {
    filter::find(name).ok_or_else(|| {
        MediaError::new(
            MediaErrorCode::EncodeFailed,
            format!("this FFmpeg has no filter `{name}`"),
        )
    })
}
