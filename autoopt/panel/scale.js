// Axes for people, the same rules as axes.py: ends, ticks, and how numbers are written.

const LOG_SPAN = 8;
const PADDING = 0.06;
const MOST_LOG_TICKS = 8;
const LEAST_LOG = 1e-100;
const LEAST_SPAN = 1e-290;
const LOG_MANTISSAS = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]];

// `mode` is "auto", "linear" or "log"; "auto" decides by the span of the values.
function fitAxis(core, others, { mayBeLog, mode = "auto" }) {
  if (!core.length && !others.length) return makeAxis(0, 1, false, [0, 0.25, 0.5, 0.75, 1]);
  let [low, high] = endsOf(core, others);
  if (high - low <= Math.max(1e-9 * Math.max(Math.abs(low), Math.abs(high)), LEAST_SPAN)) {
    const share = Math.abs(high) * 0.02;
    const pad = share > LEAST_SPAN ? share : 0.5;
    return makeAxis(low - pad, high + pad, false, linearTicks(low - pad, high + pad));
  }
  const spans = mayBeLog && high / low > LOG_SPAN;
  if (low > LEAST_LOG && (mode === "log" || (mode === "auto" && spans))) {
    const pad = (high / low) ** PADDING;
    return axisBetween(low / pad, high * pad, true);
  }
  // What lies far from the core would squeeze it: such points are drawn at the edge instead.
  const [least, most] = core.length ? endsOf(core) : [0, 0];
  const reach = most - least;
  if (reach > LEAST_SPAN) {
    low = Math.max(low, least - reach);
    high = Math.min(high, most + reach);
  }
  const pad = (high - low) * PADDING;
  return axisBetween(low - pad, high + pad, false);
}

function endsOf(...columns) {
  let [low, high] = [Infinity, -Infinity];
  for (const values of columns) {
    for (let at = 0; at < values.length; at += 1) {
      if (values[at] < low) low = values[at];
      if (values[at] > high) high = values[at];
    }
  }
  return [low, high];
}

function axisBetween(low, high, log) {
  return makeAxis(low, high, log, log ? logTicks(low, high) : linearTicks(low, high));
}

function makeAxis(low, high, log, ticks) {
  const clamped = (value, least, most) => {
    if (log && value <= 0) return least;
    const share = log
      ? Math.log(value / low) / Math.log(high / low)
      : (value - low) / (high - low);
    return Math.min(Math.max(share, least), most);
  };
  const position = (value) => clamped(value, 0, 1);
  // For lines that leave the picture: up to one length beyond either end.
  const beyond = (value) => clamped(value, -1, 2);
  const value = (share) => (log ? low * (high / low) ** share : low + (high - low) * share);
  return { low, high, log, ticks, position, beyond, value, labels: tickLabels(low, high, log, ticks) };
}

function linearTicks(low, high) {
  const rough = (high - low) / 5;
  const scale = 10 ** Math.floor(Math.log10(rough));
  const steps = [1, 2, 2.5, 5, 10].map((mantissa) => mantissa * scale);
  const step = steps.reduce((a, b) => (Math.abs(b - rough) < Math.abs(a - rough) ? b : a));
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, index) => (first + index) * step);
}

function logTicks(low, high) {
  let ticks = [];
  for (const mantissas of LOG_MANTISSAS) {
    ticks = [];
    for (let d = Math.floor(Math.log10(low)); d <= Math.ceil(Math.log10(high)); d += 1) {
      ticks.push(...mantissas.map((mantissa) => mantissa * 10 ** d));
    }
    ticks = ticks.filter((tick) => tick >= low && tick <= high);
    if (ticks.length >= 4) break;
  }
  const every = Math.max(Math.ceil(ticks.length / MOST_LOG_TICKS), 1);
  return ticks.filter((_, index) => index % every === 0);
}

function tickLabels(low, high, log, ticks) {
  if (log) return ticks.map(plainNumber);
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : high - low;
  const places = Math.max(0, ...ticks.map((tick) => decimals(tick, step)));
  return ticks.map((tick) =>
    Math.abs(tick) >= 1e4 ? plainNumber(tick) : fixed(tick, Math.min(places, 12)),
  );
}

function decimals(tick, step) {
  if (Math.abs(tick) >= 1e4) return 0;
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const rounded = Number(tick.toFixed(Math.min(places, 12)));
  return Math.abs(rounded - tick) < step / 100 ? places : places + 1;
}

// Making a format costs more than a hundred uses of it.
const FORMATS = new Map();
const SIX_DIGITS = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 6 });

function numberFormat(places) {
  if (!FORMATS.has(places)) {
    const digits = { minimumFractionDigits: places, maximumFractionDigits: places };
    FORMATS.set(places, new Intl.NumberFormat("en-US", digits));
  }
  return FORMATS.get(places);
}

function fixed(value, places) {
  return numberFormat(places).format(Number(value.toFixed(places)) + 0);
}

function plainNumber(value) {
  const size = Math.abs(value);
  const written = (number) => SIX_DIGITS.format(Number(number.toPrecision(6)));
  if (size >= 1e9) return `${written(value / 1e9)}G`;
  if (size >= 1e6) return `${written(value / 1e6)}M`;
  if (size >= 1e4) return `${written(value / 1e3)}k`;
  return written(value);
}

function formatNumber(value, unit) {
  if (!Number.isFinite(value)) return "–";
  if (!unit && Math.abs(value) < 10) return value.toFixed(4);
  if (value === 0) return "0";
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  if (magnitude < -4 || magnitude > 8) return value.toExponential(2);
  return fixed(value, Math.max(0, 2 - magnitude));
}

function formatValue(value, unit) {
  const written = formatNumber(value, unit);
  return unit && written !== "–" ? `${written} ${unit}` : written;
}

function formatInterval(stat, unit) {
  const [value, low, high] = stat ?? [];
  if (![value, low, high].every(Number.isFinite) || low === high) return "";
  const places = formatNumber(value, unit).split(".")[1]?.length ?? 0;
  return `${fixed(low, places)} – ${fixed(high, places)}`;
}

function formatDuration(seconds) {
  const whole = Math.max(Math.round(seconds), 0);
  const pad = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  if (hours) return `${hours}:${pad(minutes)}:${pad(whole % 60)}`;
  return `${minutes}:${pad(whole % 60)}`;
}
