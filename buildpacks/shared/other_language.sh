# Tells from the names of files whether a tool is written in another language than JavaScript. Sourced by the buildpacks
# of Node and by static, so that a package.json with linters does not make a PHP tool a Node tool.

# other_language: prints the language, or prints nothing and fails. $top is the folder of the repository.
other_language() {
  local language patterns pattern file
  while read -r language patterns; do
    for pattern in $patterns; do
      for file in $pattern "$top"/$pattern; do [[ -e $file ]] && echo "$language" && return; done
    done
  done <<'L'
Python requirements.txt pyproject.toml Pipfile uv.lock poetry.lock setup.py environment.yml manage.py app.py wsgi.py www/python/src/app.py
PHP composer.json *.php public/*.php public_html/*.php htdocs/*.php www/*.php */index.php
Ruby Gemfile config.ru
Go go.mod go.work
Rust Cargo.toml
Java pom.xml build.gradle build.gradle.kts
Perl cpanfile *.psgi cgi-bin/*.pl cgi-bin/*.cgi public_html/*.pl public_html/*.cgi
L
  return 1
}
