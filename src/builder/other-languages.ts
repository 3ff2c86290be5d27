/** A language that no buildpack builds, with the file of the source that shows it. */
export interface OtherLanguage {
  readonly language: string;
  readonly file: string;
}

/** A generator of web sites that no buildpack runs, with the file of the source that shows it. */
export interface SiteGenerator {
  readonly generator: string;
  readonly file: string;
}

/**
 * Languages that no buildpack builds, and the names of the files at the top of a source that show them. If files show
 * several languages, the first in this list counts. Most languages with a manifest of their own are at the top, because
 * tools in these languages often also have scripts in other languages.
 */
const OTHER_LANGUAGES: readonly (readonly [language: string, files: RegExp])[] = [
  ['Clojure', /^(project\.clj|deps\.edn|build\.boot|shadow-cljs\.edn)$/],
  ['.NET', /\.(csproj|fsproj|vbproj|sln|slnx|cs)$|^global\.json$/],
  ['Elixir', /^mix\.exs$/],
  ['Erlang', /^rebar\.(config|lock)$|^erlang\.mk$/],
  ['Gleam', /^gleam\.toml$/],
  ['Haskell', /^(stack\.yaml|cabal\.project|package\.yaml)$|\.(cabal|hs)$/],
  ['Crystal', /^shard\.(yml|lock)$|\.cr$/],
  ['Dart', /^pubspec\.(yaml|lock)$|\.dart$/],
  ['Deno', /^(deno\.jsonc?|deno\.lock)$/],
  ['Bun', /^(bunfig\.toml|bun\.lockb?)$/],
  ['Swift', /^Package\.(swift|resolved)$|\.swift$/],
  ['Zig', /^build\.zig(\.zon)?$|\.zig$/],
  ['Nim', /\.(nim|nimble)$/],
  ['D', /^dub\.(json|sdl)$/],
  ['OCaml', /^dune(-project)?$|\.(opam|ml)$/],
  ['Elm', /^elm\.json$/],
  ['PureScript', /^spago\.(dhall|yaml)$/],
  ['Scala with sbt', /^build\.(sbt|sc|mill)$/],
  ['Java with Ant', /^build\.xml$/],
  ['Bazel', /^(WORKSPACE|MODULE)(\.bazel)?$/],
  ['Nix', /^(flake|default|shell)\.nix$/],
  ['Conda', /^(environment\.ya?ml|pixi\.toml)$/],
  ['Julia', /^(Project|Manifest)\.toml$|\.jl$/],
  ['R', /^(renv\.lock|DESCRIPTION|init\.R|app\.R|server\.R|plumber\.R)$|\.Rproj$|\.[Rr]$/],
  ['Raku', /^META6\.json$|\.(raku|rakumod|p6)$/],
  ['Racket', /^info\.rkt$|\.rkt$/],
  ['Common Lisp', /\.(asd|lisp)$/],
  ['Scheme', /\.(scm|egg)$/],
  ['Prolog', /^pack\.pl$/],
  ['Lua', /\.(rockspec|lua)$/],
  ['Tcl', /^pkgIndex\.tcl$|\.tcl$/],
  [
    'C or C++',
    /^(CMakeLists\.txt|meson\.build|configure\.ac|conanfile\.(txt|py)|vcpkg\.json)$|\.(c|cc|cpp|cxx)$/,
  ],
  ['Pascal', /\.(lpr|lpi|dpr|pas)$/],
  ['Fortran', /^fpm\.toml$|\.(f90|f95|f)$/],
  ['Ada', /^alire\.toml$|\.(gpr|adb)$/],
  ['AWK', /\.awk$/],
  ['Jupyter', /\.ipynb$/],
];

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
 * The language of a source that no buildpack recognises. Null if no file shows a language of `OTHER_LANGUAGES`.
 *
 * @param files - The names at the top of the source.
 */
export function otherLanguage(files: readonly string[]): OtherLanguage | null {
  const [language, file] = firstShown(OTHER_LANGUAGES, files) ?? [];
  return language === undefined || file === undefined ? null : { language, file };
}

/**
 * The generator of the web site in a source that no buildpack recognises. Null if no file shows one.
 *
 * @param files - The names at the top of the source.
 */
export function siteGenerator(files: readonly string[]): SiteGenerator | null {
  const [generator, file] = firstShown(SITE_GENERATORS, files) ?? [];
  return generator === undefined || file === undefined ? null : { generator, file };
}

/**
 * Finds the first entry of the table whose pattern matches a file. Returns the name of the entry and the file. Null if
 * no file matches.
 */
function firstShown(
  table: readonly (readonly [name: string, files: RegExp])[],
  files: readonly string[],
): readonly [name: string, file: string] | null {
  const some = files.slice(0, MAX_FILES);
  for (const [name, pattern] of table) {
    const file = some.find((one) => pattern.test(one));
    if (file !== undefined) return [name, file];
  }
  return null;
}
