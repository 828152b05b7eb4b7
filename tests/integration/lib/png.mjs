/* SPDX-License-Identifier: MIT */
/* Screenshots with a palette: a page has few colours, so that they get small.
 * Reads what Chromium writes: 8 bits, RGB or RGBA, not interlaced. */
import { deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
const COLOURS_MAX = 256;
const INDEXED = 3;
const CHANNELS = { 2: 3, 6: 4 };

function chunksOf(png) {
  const chunks = [];
  for (let at = SIGNATURE.length; at < png.length; ) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    chunks.push({ type, data: png.subarray(at + 8, at + 8 + length) });
    at += length + 12;
  }
  return chunks;
}

function paeth(a, b, c) {
  const p = a + b - c;
  const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

/* Takes the filter off one row, in place. */
function unfilter(kind, row, above, step) {
  for (let i = 0; i < row.length; i++) {
    const left = i >= step ? row[i - step] : 0;
    const up = above ? above[i] : 0;
    const corner = above && i >= step ? above[i - step] : 0;
    const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)];
    row[i] = (row[i] + guess[kind]) & 255;
  }
}

/* Each pixel as one number, 0xRRGGBB. */
function decode(png) {
  const chunks = chunksOf(png);
  const header = chunks[0].data;
  const width = header.readUInt32BE(0);
  const height = header.readUInt32BE(4);
  const step = CHANNELS[header[9]];
  if (header[8] !== 8 || !step || header[12] !== 0)
    throw new Error('not a picture as Chromium makes it');
  const parts = chunks.filter(({ type }) => type === 'IDAT');
  const bytes = inflateSync(Buffer.concat(parts.map(({ data }) => data)));
  const pixels = new Uint32Array(width * height);
  let above = null;
  for (let y = 0; y < height; y++) {
    const begin = y * (width * step + 1);
    const row = bytes.subarray(begin + 1, begin + 1 + width * step);
    unfilter(bytes[begin], row, above, step);
    for (let x = 0; x < width; x++)
      pixels[y * width + x] = row.readUIntBE(x * step, 3);
    above = row;
  }
  return { width, height, pixels };
}

function distance(a, b) {
  const of = (shift) => ((a >> shift) & 255) - ((b >> shift) & 255);
  return of(16) ** 2 + of(8) ** 2 + of(0) ** 2;
}

/* The colours that are there most often; others become the nearest of them. */
function makePalette(pixels) {
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const colours = [...counts].sort((a, b) => b[1] - a[1]).map(([one]) => one);
  const palette = colours.slice(0, COLOURS_MAX);
  const places = new Map(palette.map((colour, place) => [colour, place]));
  for (const colour of colours.slice(COLOURS_MAX)) {
    let best = 0;
    palette.forEach((other, place) => {
      if (distance(colour, other) < distance(colour, palette[best]))
        best = place;
    });
    places.set(colour, best);
  }
  return { palette, places };
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++)
      crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(4);
  const check = Buffer.alloc(4);
  frame.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([frame, body, check]);
}

export function withPalette(png) {
  const { width, height, pixels } = decode(png);
  const { palette, places } = makePalette(pixels);
  const header = Buffer.from(chunksOf(png)[0].data);
  header[9] = INDEXED;
  const colours = Buffer.alloc(palette.length * 3);
  palette.forEach((colour, i) => colours.writeUIntBE(colour, i * 3, 3));
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      rows[y * (width + 1) + 1 + x] = places.get(pixels[y * width + x]);
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('PLTE', colours),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
