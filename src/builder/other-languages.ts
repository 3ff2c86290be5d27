/** A language that no buildpack builds, with the file of the source that shows it. */
export interface OtherLanguage {
  readonly language: string;
  readonly file: string;
}

/**
 * Languages that no buildpack builds, and the names of the files at the top of a source that show them. The languages
 * with a manifest of their own come first, because tools in these languages often also have scripts in other languages.
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

/** At most this many names are looked at, because a hostile source may have 50,000 names at its top. */
const MAX_FILES = 1000;

/**
 * The language of a source that no buildpack recognises. Null if no file shows one of the languages above.
 *
 * @param files - The names at the top of the source.
 */
export function otherLanguage(files: readonly string[]): OtherLanguage | null {
  const some = files.slice(0, MAX_FILES);
  for (const [language, pattern] of OTHER_LANGUAGES) {
    const file = some.find((name) => pattern.test(name));
    if (file !== undefined) return { language, file };
  }
  return null;
}
