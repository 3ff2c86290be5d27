import { type OwnBuildpack, type OwnBuildpacks, ownIds } from '../../buildpack-api/own-buildpacks.ts';

/**
 * If a tool brings buildpacks, the lifecycle finds all buildpacks in this folder: those of the image and of the tool.
 */
const FOLDER = '/detected/buildpacks';
/** The file with the order of the buildpacks in `FOLDER`. */
const ORDER = '/detected/order.toml';

/**
 * Makes a folder with links to the buildpacks of the image and of the tool, and an order file. In this order, one
 * made-up buildpack stands for all buildpacks of the image: its buildpack.toml has the image's order. Only `procfile`
 * is moved from the image's order into the order file, because the tool's buildpacks that are neither in `pre` nor in
 * `post` build directly before `procfile`. Exits with 1 if a buildpack of the tool has the id of a buildpack of the
 * image.
 *
 * The arguments list the buildpacks in the order in which they build: three words for each buildpack of the tool (its
 * id, version and path), `.image` for all buildpacks of the image, and `.procfile` for `procfile`. Then follow `--` and
 * the command line of the detector.
 *
 * @see https://github.com/buildpacks/spec/blob/main/buildpack.md#buildpacktoml-toml (order)
 */
const SCRIPT = `
all=${FOLDER} order=${ORDER} image=toolforge-push/image
mkdir $all
for entry in "\${CNB_BUILDPACKS_DIR:-/cnb/buildpacks}"/*; do ln -s "$entry" $all/; done
mkdir -p $all/toolforge-push_image/0
{
  printf 'api = "0.10"\\n[buildpack]\\nid = "%s"\\nversion = "0"\\n' $image
  awk -v RS= -v ORS='\\n\\n' -v procfile=$order.procfile '
    /"toolforge\\/procfile"/ && split($0, _, "[[]order[.]group[]]") == 2 { print >procfile; next }
    { print }' "\${CNB_ORDER_PATH:-/cnb/order.toml}"
} >$all/toolforge-push_image/0/buildpack.toml
member() { printf '[[order.group]]\\nid = "%s"\\nversion = "%s"\\n' "$1" "$2" >>$order; }
echo '[[order]]' >$order
while [ "$1" != -- ]; do
  case $1 in
    .image) member $image 0; shift; continue ;;
    .procfile) cat $order.procfile >>$order 2>/dev/null || true; shift; continue ;;
  esac
  folder=$all/\${1//\\//_}
  if [ -e "$folder" ]; then
    echo "ERROR: the repository has a buildpack with the id $1, but the builder image has a buildpack of this id"
    exit 1
  fi
  mkdir "$folder"
  ln -s "/workspace/$3" "$folder/$2"
  member "$1" "$2"
  shift 3
done
shift
exec "$@"`;

/**
 * The command-line options with which the detector or the builder of the lifecycle finds the buildpacks that `SCRIPT`
 * has put together: the folder with the buildpacks of the image and of the tool and, for the detector only, the order
 * file. Empty if the tool brings no buildpacks.
 */
export function ownBuildpackOptions(own: OwnBuildpacks, program: 'detector' | 'builder'): string[] {
  if (isEmpty(own)) return [];
  return ['-buildpacks', FOLDER, ...(program === 'detector' ? ['-order', ORDER] : [])];
}

/**
 * The command line that runs the detector. If the tool brings buildpacks, this is a command line that runs `SCRIPT`,
 * which adds these buildpacks and then runs the detector.
 */
export function withOwnBuildpackFolder(own: OwnBuildpacks, detector: readonly string[]): string[] {
  if (isEmpty(own)) return [...detector];
  const words = (list: readonly OwnBuildpack[]) =>
    list.flatMap(({ id, version, path }) => [id, version, path]);
  return [
    ...['/bin/bash', '-euo', 'pipefail', '-c', SCRIPT, 'bash'],
    ...[...words(own.first), '.image', ...words(own.beforeProcfile), '.procfile', ...words(own.last), '--'],
    ...detector,
  ];
}

function isEmpty(own: OwnBuildpacks): boolean {
  return ownIds(own).length === 0;
}
