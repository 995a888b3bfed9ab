//! Makes a picture of a page as small as a README wants it: 256 colours are enough.

use std::{collections::HashMap, io::Cursor};

use png::{
    BitDepth, ColorType, Compression, Decoder, DecodingError, Encoder, Filter, Transformations,
};

/// Of colours nearer than this, the more frequent one stands for both, so that rare ones have a place.
const ALIKE: u32 = 50;

/// PNG of PNG.
pub(crate) fn packed(picture: Vec<u8>) -> Vec<u8> {
    let (width, height, pixels) = pixels(picture).expect("a PNG");
    let mut counts = HashMap::<[u8; 3], usize>::new();
    for pixel in &pixels {
        *counts.entry(*pixel).or_default() += 1;
    }
    let mut colours: Vec<_> = counts.keys().copied().collect();
    colours.sort_unstable_by_key(|colour| (usize::MAX - counts[colour], *colour));
    let mut palette: Vec<[u8; 3]> = Vec::new();
    for colour in colours {
        if palette.len() < 256 && palette.iter().all(|other| distance(*other, colour) > ALIKE) {
            palette.push(colour);
        }
    }
    let nearest: HashMap<_, _> =
        counts.into_keys().map(|colour| (colour, nearest(&palette, colour))).collect();

    let mut packed = Vec::new();
    let mut encoder = Encoder::new(&mut packed, width, height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(palette.concat());
    encoder.set_compression(Compression::High);
    encoder.set_filter(Filter::NoFilter);
    let pixels: Vec<_> = pixels.iter().map(|pixel| nearest[pixel]).collect();
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("an end");
    packed
}

fn pixels(picture: Vec<u8>) -> Result<(u32, u32, Vec<[u8; 3]>), DecodingError> {
    let mut decoder = Decoder::new(Cursor::new(picture));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().expect("it fits")];
    let info = reader.next_frame(&mut bytes)?;
    let of_one = info.color_type.samples();
    let pixels = bytes.chunks_exact(of_one).map(|pixel| [pixel[0], pixel[1], pixel[2]]);
    Ok((info.width, info.height, pixels.collect()))
}

/// Where it is in the palette.
fn nearest(palette: &[[u8; 3]], colour: [u8; 3]) -> u8 {
    let nearest = (0..palette.len()).min_by_key(|at| distance(palette[*at], colour));
    nearest.and_then(|at| at.try_into().ok()).expect("256 at most")
}

/// By eye, squared.
fn distance(one: [u8; 3], other: [u8; 3]) -> u32 {
    one.iter().zip(other).map(|(one, other)| u32::from(one.abs_diff(other)).pow(2)).sum()
}
