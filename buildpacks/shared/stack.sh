# Prints a sentence if this server has no stack and could have one, because a stack has programs that this machine lacks.
# Sourced by buildpacks.

# in_stack WHAT: WHAT is a language with its version, such as `Python 3.13`. The sentence begins with a space.
in_stack() {
  [[ ${TOOLFORGE_STACK:-} != none ]] || echo " $1 is in the stack: the operator of this server can run npx toolforge-push stack make."
}
