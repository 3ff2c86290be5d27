# Reads a tool's text files. Sourced by buildpacks.

# text_of FILE: prints the lines of a file without what Windows adds: byte order mark, CR, and the NULs of UTF-16 with
# Latin letters
text_of() { LC_ALL=C tr -d '\000\r' <"$1" | LC_ALL=C sed $'1s/^\\(\xef\xbb\xbf\\|\xff\xfe\\|\xfe\xff\\)//'; }

# has_line FILE PATTERN: tells whether a line of the file matches the extended regular expression
has_line() { [[ -f $1 ]] && text_of "$1" | grep -E "$2" >/dev/null; }

# Tells whether the Procfile has a web process
has_web() { has_line Procfile '^[[:space:]]*web:'; }

# Tells whether a file says what the tool starts. The types of service.template with a web server of their own do not start
# extra_args.
has_commands() {
  [[ -f Procfile || -f toolforge.yaml || -n $(jobs_file) ]] && return
  has_line service.template '^extra_args:' && ! has_line service.template '^type:[[:space:]]*["'\'']?(python|node|php|perl|lighttpd|static|tomcat|uwsgi)'
}

# Prints the file for `toolforge jobs load`, or nothing. Files of other programs also have these names.
jobs_file() {
  local file
  for file in {,toolforge/,.toolforge/}{,cron}jobs.yaml jobs.yml toolforge-jobs.yaml; do
    ! has_line "$file" '^[[:space:]]*-[[:space:]]' || { echo "$file" && return; }
  done
}

# runs PATTERN: tells whether a command of the tool has a word that matches the extended regular expression
runs() {
  local word="(^|[[:space:];&|(/'\"])($1)([[:space:];&|)'\"]|\$)" file
  has_line Procfile "^[[:space:]]*[A-Za-z0-9_-]+:.*$word" && return
  for file in toolforge.yaml $(jobs_file); do has_line "$file" "command:.*$word" && return; done
  return 1
}

# jobs_in LANGUAGE: tells whether a job of the tool names an image of the language, such as php8.2 or tf-php74
jobs_in() {
  local file
  for file in toolforge.yaml $(jobs_file); do has_line "$file" "(^|[[:space:],{-])image:[[:space:]]*[\"']?(tf-)?$1[0-9]" && return; done
  return 1
}

# first_line FILE: prints the first line of a file without NUL and CR, at most 300 bytes. Prints nothing if the file
# cannot be read.
first_line() { LC_ALL=C head -c 300 "$1" 2>/dev/null | tr -d '\000\r' | sed -n 1p; }

# is_plain FILE: tells whether FILE exists and its name needs no quotes in a command
is_plain() { [[ -f $1 && $1 =~ ^[A-Za-z0-9_./+-]+$ ]]; }

# has_other_manifest OWN: tells whether the source has a manifest or programs of a language, or is a web site. A file
# whose path matches the extended pattern OWN does not count.
has_other_manifest() {
  local file
  for file in package.json composer.json requirements.txt pyproject.toml Pipfile setup.py go.mod Cargo.toml pom.xml \
    build.gradle Gemfile cpanfile *.py *.php {public,public_html,htdocs,web,www}/index.php index.html; do
    [[ -f $file && $file != @($1) ]] && return 0
  done
  return 1
}

indent() { sed -u 's/^/       /'; }

fail() {
  echo " !     $1"
  exit 1
}
