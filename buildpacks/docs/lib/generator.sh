# Finds the documentation of a repository. Sourced by bin/detect and bin/build, after text.sh.

# find_generator: sets $settings, the file of the generator, $generator, its name, $program, and $package on PyPI. Fails
# if the source has no documentation.
find_generator() {
  for settings in mkdocs.yml mkdocs.yaml; do
    [[ ! -f $settings ]] || { generator=MkDocs program=mkdocs package=mkdocs && return; }
  done
  for settings in {,docs/,doc/,docs/source/,doc/source/,source/}conf.py; do
    has_line "$settings" '^(project|extensions|html_theme)[[:space:]]*=' || continue
    generator=Sphinx program=sphinx-build package=sphinx
    return
  done
  return 1
}

# documentation_requirements: prints the file that names the packages of the documentation, or nothing
documentation_requirements() {
  local file
  for file in docs/requirements.txt doc/requirements.txt docs/source/requirements.txt requirements-docs.txt \
    docs-requirements.txt requirements/docs.txt requirements.txt; do
    [[ ! -f $file ]] || { echo "$file" && return; }
  done
}

# usual_packages: prints the packages of the usual themes and extensions that the settings name
usual_packages() {
  local name
  [[ $program != mkdocs ]] || ! has_line "$settings" '(^theme:|^[[:space:]]+name:)[[:space:]]*["'\'']?material' || echo mkdocs-material
  [[ $program == mkdocs ]] || for name in sphinx_rtd_theme furo pydata_sphinx_theme sphinx_book_theme myst_parser sphinx_copybutton; do
    ! has_line "$settings" "^[^#]*[\"']$name[\"']" || echo "${name//_/-}"
  done
}
