// The thousands of points for which the chart has no elements, as one picture.

const STAMP = 20; // px, the largest outline and its border

function createPainter(canvas, reader) {
  const stamps = new Map();
  let picture = null;
  let seen = -1;

  // Thousands of equal outlines: each is drawn once and then stamped into one picture, which a
  // canvas takes far quicker than thousands of shapes.
  function paint(points, { plain, front, small }, { store, colours, size }) {
    const ratio = window.devicePixelRatio || 1;
    const context = fitCanvas(canvas, size.width, size.height, ratio);
    if (!plain.length && !front.length) return;
    if (picture?.width !== canvas.width || picture.height !== canvas.height) {
      picture = context.createImageData(canvas.width, canvas.height);
      stamps.clear();
    }
    if (seen !== reader.revision()) stamps.clear();
    seen = reader.revision();
    const pixels = new Uint32Array(picture.data.buffer);
    pixels.fill(0);
    const stampAt = stampFinder(store, colours, ratio);
    const stampAll = (indices, size, isFront) => {
      for (const at of indices) {
        const stamp = stampAt(points.place[at], size * points.scale[at], isFront);
        (isFront ? stampOver : stampInto)(pixels, stamp, Math.round(points.py[at] * ratio) * canvas.width + Math.round(points.px[at] * ratio));
      }
    };
    stampAll(plain, small, false);
    stampAll(front, small, true);
    context.putImageData(picture, 0, 0);
  }

  function stampFinder(store, colours, ratio) {
    const { trials, found } = store;
    const tones = colours.names.map((name) => reader.read(name));
    const edge = reader.surface();
    const own = new Map(); // by a number, which is found quicker than a name
    const kinds = ["search", "uniform", "baseline"];
    return (place, scale, isFront) => {
      const kind = Math.max(kinds.indexOf(trials.role[place]), 0);
      const pass = found.pass[place];
      const step = Math.round(10 * scale);
      const key = (((colours.at(place) * 4 + kind) * 2 + pass) * 2 + isFront) * 64 + step;
      let stamp = own.get(key);
      if (!stamp) {
        const tone = tones[colours.at(place)];
        const alpha = isFront ? 1 : pass ? 0.36 : 0.2;
        const zoom = (ratio * step) / 10;
        const name = `${kind} ${tone} ${pass} ${isFront} ${zoom}`;
        stamp = stamps.get(name)
          ?? stampOf(SHAPES[kinds[kind]], { tone, edge: isFront ? edge : "", pass, alpha }, { zoom, width: canvas.width });
        stamps.set(name, stamp);
        own.set(key, stamp);
      }
      return stamp;
    };
  }

  return { paint };
}

// An outline as the pixels that it covers: their colours, how much each covers, and where in a picture
// of this width, seen from the middle.
function stampOf(shape, { tone, edge, pass, alpha }, { zoom, width }) {
  const size = 2 * Math.ceil((STAMP * zoom) / 2);
  const context = html("canvas", "", null, { width: size, height: size }).getContext("2d", { willReadFrequently: true });
  context.setTransform(zoom, 0, 0, zoom, size / 2, size / 2);
  context.globalAlpha = alpha;
  context.lineWidth = edge ? 1.2 : 1.3;
  context.fillStyle = tone;
  context.strokeStyle = edge || tone;
  const path = new Path2D(shape);
  if (pass) context.fill(path);
  if (edge || !pass) context.stroke(path);
  const { data } = context.getImageData(0, 0, size, size);
  const covered = [...Array(size * size).keys()].filter((at) => data[4 * at + 3] > 0);
  // The colour of a pixel that is hardly covered is rounded; of one colour the strongest knows it.
  const strongest = covered.reduce((best, at) => (data[4 * at + 3] > data[4 * best + 3] ? at : best), covered[0] ?? 0);
  return {
    offsets: Int32Array.from(covered, (at) => (Math.floor(at / size) - size / 2) * width + (at % size) - size / 2),
    alpha: Uint8Array.from(covered, (at) => data[4 * at + 3]),
    // A pixel in memory is red, green, blue, alpha; as a number, the lowest byte comes first.
    tone: Uint32Array.from(covered, (pixel) => {
      const at = 4 * (edge ? pixel : strongest);
      return data[at] | (data[at + 1] << 8) | (data[at + 2] << 16);
    }),
  };
}

// Where faded outlines overlap they cover more, and the last one's colour shows.
function stampInto(pixels, { offsets, alpha, tone }, middle) {
  for (let index = 0; index < alpha.length; index += 1) {
    const at = middle + offsets[index];
    const under = pixels[at] >>> 24;
    const both = under + ((alpha[index] * (255 - under)) >> 8);
    pixels[at] = (both << 24) | tone[index];
  }
}

// One lies over the other, and its edge tells them apart; at the edge of the edge the colours mix.
function stampOver(pixels, { offsets, alpha, tone }, middle) {
  for (let index = 0; index < alpha.length; index += 1) {
    const at = middle + offsets[index];
    const under = pixels[at];
    const own = alpha[index];
    if (own === 255) {
      pixels[at] = 0xff000000 | tone[index];
      continue;
    }
    const beneath = ((under >>> 24) * (255 - own)) >> 8;
    const both = own + beneath;
    const share = (own << 8) / both; // of the colour, out of 256
    let mixed = 0;
    for (let shift = 0; shift < 24; shift += 8) {
      const below = (under >> shift) & 255;
      mixed |= ((((tone[index] >> shift) & 255) * share + below * (256 - share)) >> 8) << shift;
    }
    pixels[at] = (both << 24) | mixed;
  }
}

// A cleared canvas of this size; giving it a size anew would cost more than clearing it.
function fitCanvas(canvas, width, height, ratio) {
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
