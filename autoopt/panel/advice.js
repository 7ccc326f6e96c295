// Sentences that help to choose. They follow the filter, so they are made here.

// "8.4× and −0.6 pt": how a trial compares with the original.
function comparedWords(trials, objectives, place, original) {
  const words = [];
  if (Number.isFinite(trials.speedup[place])) words.push(`${trials.speedup[place].toFixed(1)}×`);
  const [now, then] = [place, original].map((at) => trials.value(objectives[0].name, at));
  if (Number.isFinite(now) && Number.isFinite(then)) words.push(signedQuality(objectives[0], now - then));
  return words.join(" and ");
}

function qualityWords(quality, difference) {
  const size = Math.abs(difference);
  return quality.points ? `${(size * 100).toFixed(1)} pt` : Number(size.toPrecision(3)).toString();
}

function signedQuality(quality, difference) {
  return `${difference < 0 ? "−" : "+"}${qualityWords(quality, difference)}`;
}

function boundWords(objective, [low, high]) {
  const words = [];
  if (low !== null) words.push(`${nameOf(objective)} ≥ ${shortNumber(low)}${objective.unit && ` ${objective.unit}`}`);
  if (high !== null) words.push(`${nameOf(objective)} ≤ ${shortNumber(high)}${objective.unit && ` ${objective.unit}`}`);
  return words.join(" and ");
}

// A name that a sentence can bear.
const nameOf = ({ label }) => shortened(label, LONGEST_NAME);

// Why the recommended one: what it is, what it costs, what the next step would cost.
function reasonOf(store) {
  const { trials, found } = store;
  const objectives = store.objectives();
  const place = found.recommended;
  if (place < 0) return nothingWords(store);
  const [quality, speed] = [objectives[0], speedOf(objectives)];
  const kept = [...objectives, ...store.bounded()]
    .filter((o) => o.name in store.filter().bounds)
    .map((o) => boundWords(o, store.filter().bounds[o.name]));
  const superlative = speed.name === "latency" ? "the fastest" : `the best in ${nameOf(speed)}`;
  const held = [...(kept.length ? [`keeps ${kept.join(", ")}`] : []), ...usualWords(store)];
  const keeps = held.length && ` that ${held.join(" and ")}`;
  const compared = found.original >= 0 && place !== found.original
    ? `: ${comparedWords(trials, objectives, place, found.original)} against the original` : "";
  return `#${trials.number[place]} is ${superlative}${keeps || ""}${compared}.${tieWords(store, speed)}`;
}

// The limit of the quality that nobody named and that holds all the same.
function usualWords(store) {
  const quality = store.objectives()[0];
  const isHeld = store.found.original >= 0 && speedOf(store.objectives()) !== quality && !isQualityBounded(quality, store.filter());
  return isHeld ? [`loses at most ${qualityWords(quality, USUAL_DROP)} of ${nameOf(quality)}`] : [];
}

function nothingWords(store) {
  if (!store.trials.size) return store.alive() ? "The original is measured first, then each technique alone. What to take, and why, stands here from then on." : "";
  if (store.trials.failures.size === store.trials.size) return "Every candidate so far failed. Why, at the foot, holds the causes and logs.";
  if (store.found.members.length) {
    return `No strategy that meets these needs ${usualWords(store)[0]}: say which ${nameOf(store.objectives()[0])} you need, or loosen another need.`;
  }
  return "No strategy measured so far meets these needs: loosen one, or wait.";
}

// Uncertainty, said: a difference within both intervals is no difference.
function tieWords(store, speed) {
  const { trials, found } = store;
  const [, low, high] = trials.stat(speed.name, found.recommended);
  const rivals = found.members.filter((place) => {
    const [, least, most] = trials.stat(speed.name, place);
    return place !== found.recommended && least <= high && most >= low && (low < high || least < most);
  });
  if (!rivals.length) return "";
  const named = rivals.slice(0, 2).map((place) => `#${trials.number[place]}`).join(" and ");
  const more = rivals.length > 2 ? ` and ${rivals.length - 2} more` : "";
  return ` Within the measurement's noise ${named}${more} may be as good in ${nameOf(speed)}.`;
}

// What would I gain if I gave up one more point? Only the bound on the quality is loosened.
function oneMorePoint(store) {
  const { trials, found } = store;
  const objectives = store.objectives();
  const [quality, speed] = [objectives[0], speedOf(objectives)];
  if (found.recommended < 0 || !quality || speed === quality) return "";
  const { [quality.name]: bound, ...others } = store.filter().bounds;
  const loosened = passing(trials, { ...store.filter(), bounds: others });
  const minimized = quality.direction === "minimize";
  const end = bound?.[minimized ? 1 : 0] ?? (found.original < 0 ? null : usualLimit(trials, quality, found.original));
  if (end === null) return "";
  const limit = minimized ? end + USUAL_DROP : end - USUAL_DROP;
  const faster = [];
  const own = trials.value(speed.name, found.recommended);
  for (let place = 0; place < trials.size; place += 1) {
    if (loosened[place] && better(speed, trials.value(speed.name, place), own)) faster.push(place);
  }
  const within = faster.filter((place) => !better(quality, limit, trials.value(quality.name, place)));
  const allowing = `Allowing ${quality.points ? "one more point" : `${USUAL_DROP} more`}`;
  const best = bestOf(trials, speed, within);
  if (best >= 0) return `${allowing} would give #${trials.number[best]}, which ${gainWords(store, speed, best)}.`;
  const known = faster.filter((place) => Number.isFinite(trials.value(quality.name, place)));
  const next = bestOf(trials, quality, known);
  if (next < 0) return "Nothing measured is faster at any loss.".replace("faster", speed.name === "latency" ? "faster" : `better in ${nameOf(speed)}`);
  return `${allowing} would gain nothing; the next faster one, #${trials.number[next]}, ${gainWords(store, speed, next)}.`;
}

function gainWords(store, speed, place) {
  const { trials, found } = store;
  const quality = store.objectives()[0];
  const [mine, theirs] = [found.recommended, place].map((at) => trials.value(speed.name, at));
  const factor = speed.direction === "minimize" ? mine / theirs : theirs / mine;
  const cost = trials.value(quality.name, place) - trials.value(quality.name, found.recommended);
  const worse = quality.direction === "minimize" ? cost : -cost;
  const price = worse > 0 ? `costs ${qualityWords(quality, cost)} more` : `costs no ${nameOf(quality)}`;
  const gain = Number.isFinite(factor) && factor > 0 ? `is ${factor.toFixed(2)}× as ${speed.name === "latency" ? "fast" : "good"}` : "is better";
  return `${gain} and ${price}`;
}
