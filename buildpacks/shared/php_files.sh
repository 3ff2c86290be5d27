# Finds the files of a PHP tool. Sourced by the buildpacks php and composer.

# shellcheck source=text.sh
source "$CNB_BUILDPACK_DIR/lib/text.sh"

# The folders that PHP tools usually serve. The first folder with a page is served. The top folder of the source comes
# last.
usual_roots='public public_html htdocs web www html docroot webroot .'

# has_php FOLDER: tells whether there are PHP files in the folder itself
has_php() {
  local file
  for file in "$1"/*.php; do [[ -f $file ]] && return 0; done
  return 1
}

# has_manifest_of_another FILE…: tells whether a file says that the tool is written in another language. FILE adds names
# to the usual ones.
has_manifest_of_another() {
  local file
  for file in requirements.txt pyproject.toml Pipfile go.mod Cargo.toml pom.xml Gemfile cpanfile "$@"; do [[ -f $file ]] && return 0; done
  return 1
}

# Tells whether the source is a PHP tool. The jobs of a tool in another language, or of a web site, may run PHP too.
is_php() { has_php_pages || runs 'php[0-9.]*|[^[:space:]]+\.php' || jobs_in php; }

# Tells whether the files say that PHP serves pages, or that the whole tool is written in PHP
has_php_pages() {
  local folder file
  for folder in $usual_roots; do [[ -f $folder/index.php ]] && return 0; done
  for file in service.template public_html/service.template; do has_line "$file" '^type:[[:space:]]*["'\'']?php' && return 0; done
  has_line Procfile "^[A-Za-z0-9_-]+:.*(^|[[:space:];&|/'\"])(php[0-9.]*|heroku-php-(apache2|nginx)|composer|[^[:space:]]+\.php)([[:space:]]|$)" && return 0
  has_manifest_of_another && return 1
  for folder in $usual_roots; do has_php "$folder" && return 0; done
  # Beside a package.json, a composer.json without pages only brings programs for developers.
  [[ -f composer.json ]] && ! has_manifest_of_another package.json
}

# document_root: prints the folder whose files are served. If the tool names a folder that does not exist or is not in
# the repository, prints its name and fails.
document_root() {
  local folder
  folder=${BP_PHP_WEB_DIR:-}
  # `document-root = "web"` in the table [php] of project.toml
  [[ -n $folder || ! -f project.toml ]] || folder=$(text_of project.toml | sed -nE '/^\[php\]/,/^\[[^p]/s/^[[:space:]]*document-root[[:space:]]*=[[:space:]]*["'\'']([^"'\'']*)["'\''].*/\1/p' | head -n 1)
  if [[ -n $folder ]]; then
    folder=${folder#./} && echo "${folder%/}"
    [[ -d $folder && $folder != /* && $folder != *..* ]]
    return
  fi
  for folder in $usual_roots; do [[ -f $folder/index.php ]] && echo "$folder" && return; done
  for folder in $usual_roots; do { has_php "$folder" || [[ -f $folder/index.html ]]; } && echo "$folder" && return; done
  echo .
}
