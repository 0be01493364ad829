const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'];

/** Bytes in decimal units, as download sizes are given. */
export function bytes(count: number): string {
  let [value, unit] = [count, 0];
  for (; value >= 999.5 && unit + 1 < UNITS.length; unit++) value /= 1000;
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toPrecision(value >= 10 ? 3 : 2)} ${UNITS[unit]}`;
}

/** A rounded duration for display. */
export function duration(seconds: number): string {
  if (seconds < 59.5) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A count with the visitor's digit separators. */
export function count(value: number): string {
  return value.toLocaleString('en');
}

/** A number of parameters, e.g. 8.3 B. */
export function parameters(value: number): string {
  return value >= 1e9 ? `${(value / 1e9).toFixed(1)} B` : `${(value / 1e6).toFixed(1)} M`;
}
