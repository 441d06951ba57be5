// Numbers as people read them; signals/formats.py says the same on the server.
const DASH = "–";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export function priceText(price) {
  if (!isNumber(price)) return DASH;
  const size = Math.abs(price);
  const [whole, rest] = price.toFixed(size >= 100 ? 2 : size >= 1 ? 4 : size >= 0.01 ? 5 : 8).split(".");
  return `${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${rest}`;
}

export function percentText(share) {
  return isNumber(share) ? `${(100 * share).toFixed(1)}%` : DASH;
}

export function bpsText(bps) {
  return isNumber(bps) ? bps.toFixed(1) : DASH;
}

export function signedBpsText(bps) {
  if (!isNumber(bps)) return DASH;
  const text = bps.toFixed(1);
  if (Number(text) === 0) return "0.0";
  return bps > 0 ? `+${text}` : text;
}

// The colour class of a change; of a gain, only what is above nothing is coloured.
export function direction(bps, isGain = false) {
  const text = signedBpsText(bps);
  return text.startsWith("+") ? "up" : text.startsWith("-") && !isGain ? "down" : "";
}

export function ageText(milliseconds) {
  if (!isNumber(milliseconds)) return DASH;
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  return seconds < 3600 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(0)} h`;
}
