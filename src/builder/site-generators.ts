/** A generator of web sites that no buildpack runs, with the file of the source that shows it. */
export interface SiteGenerator {
  readonly generator: string;
  readonly file: string;
}

/** Generators of web sites, and the names of their settings at the top of a source. */
const SITE_GENERATORS: readonly (readonly [generator: string, file: RegExp])[] = [
  ['Jekyll', /^_config\.ya?ml$/],
  ['Hugo', /^hugo\.(toml|ya?ml|json)$/],
  ['MkDocs', /^mkdocs\.ya?ml$/],
  ['mdBook', /^book\.toml$/],
  ['Quarto', /^_quarto\.ya?ml$/],
  ['Antora', /^antora-playbook\.ya?ml$/],
  ['Eleventy', /^(\.eleventy|eleventy\.config)\.[cm]?[jt]s$/],
];

/** At most this many names are looked at, because a hostile source may have 50,000 names at its top. */
const MAX_FILES = 1000;

/**
 * The generator of the web site in a source that no buildpack recognises. Null if no file shows one.
 *
 * @param files - The names at the top of the source.
 */
export function siteGenerator(files: readonly string[]): SiteGenerator | null {
  const some = files.slice(0, MAX_FILES);
  for (const [generator, pattern] of SITE_GENERATORS) {
    const file = some.find((name) => pattern.test(name));
    if (file !== undefined) return { generator, file };
  }
  return null;
}
