/**
 * The suffixes of a Kubernetes quantity that this server accepts, each with its factor. Kubernetes has a few more, such
 * as `Pi`.
 */
const FACTORS: Readonly<Record<string, number>> = {
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/**
 * The number that a Kubernetes quantity means (`512Mi` bytes, `500m` cores), or null if the value is not a
 * positive quantity with one of the suffixes in `FACTORS`.
 *
 * @see https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
 */
export function parseQuantity(value: unknown): number | null {
  if (typeof value === 'number') return value > 0 && Number.isFinite(value) ? value : null;
  if (typeof value !== 'string') return null;
  const [, digits, letters = ''] = /^(\d{1,15}(?:\.\d{1,9})?)([A-Za-z]{0,2})$/.exec(value) ?? [];
  const factor = FACTORS[letters];
  if (digits === undefined || factor === undefined) return null;
  const number = Number(digits) * factor;
  return number > 0 ? number : null;
}
