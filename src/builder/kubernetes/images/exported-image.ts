import { z } from 'zod';
import { DeployError } from '../../../core/errors.ts';
import { mebibytes } from '../../../core/text/mebibytes.ts';
import type { Process } from '../../../core/types.ts';
import { definedProcess } from '../../buildpack-api/launch-processes.ts';
import { layerVersion } from '../../buildpack-api/layers.ts';

// The parts that this server reads of the label io.buildpacks.build.metadata of an image:
// https://github.com/buildpacks/spec/blob/main/platform.md#labels
const buildLabel = z.object({
  processes: z
    .array(
      z.object({
        type: z.string(),
        command: z.union([z.string().transform((word) => [word]), z.array(z.string()).min(1)]),
        args: z.array(z.string()).nullish(),
        buildpackID: z.string().default(''),
        'working-dir': z.string().optional(),
      }),
    )
    .nullish(),
  buildpacks: z.array(z.object({ id: z.string(), version: z.string() })).nullish(),
  'buildpack-default-process-type': z.string().optional(),
});
const layersLabel = z.object({
  runImage: z.object({ topLayer: z.string().optional() }).optional(),
  buildpacks: z
    .array(
      z.object({
        key: z.string(),
        layers: z
          .record(z.string(), z.object({ launch: z.boolean().default(false), data: z.unknown() }))
          .nullish(),
      }),
    )
    .nullish(),
});

/**
 * How many buildpacks `readLabels` returns at most, because a build can write any labels, with a list of any length.
 */
const MAX_BUILDPACKS = 50;
/**
 * The most characters of a label. The labels of real builds have a few kB. To read more would keep the server busy.
 */
const MAX_LABEL_CHARACTERS = 1024 * 1024;
const MAX_BUILDPACK_CHARACTERS = 200;

/** What the labels of a built image say. The lifecycle of Cloud Native Buildpacks wrote the image and its labels. */
export interface ExportedImage {
  readonly processes: readonly Process[];
  /**
   * One text for each buildpack, `ID VERSION`. VERSION is that of the runtime that the buildpack installed, if a launch
   * layer names it, otherwise that of the buildpack.
   */
  readonly buildpacks: readonly string[];
}

/** The last layer of the run image on which the image was built. Null if the labels do not name a run image. */
export function topLayerOf(labels: Readonly<Record<string, string>>): string | null {
  return readLabel(labels, 'io.buildpacks.lifecycle.metadata', layersLabel).runImage?.topLayer ?? null;
}

/**
 * Reads the labels of a built image.
 *
 * @throws DeployError `BUILD_FAILED` if a buildpack defined an invalid process type, or if a label is too large or does
 * not have the form that the lifecycle gives it.
 */
export function readLabels(labels: Readonly<Record<string, string>>): ExportedImage {
  const build = readLabel(labels, 'io.buildpacks.build.metadata', buildLabel);
  const layers = readLabel(labels, 'io.buildpacks.lifecycle.metadata', layersLabel);
  const byDefault = build['buildpack-default-process-type'];
  const processes = (build.processes ?? []).map((process) =>
    definedProcess(process.buildpackID, process, process.type === byDefault),
  );
  const buildpacks = (build.buildpacks ?? []).slice(0, MAX_BUILDPACKS).map(({ id, version }) => {
    const own = layers.buildpacks?.find(({ key }) => key === id)?.layers ?? {};
    // The first layer with a version counts. Sort the layers by name, as builds on the server's machine do, so that
    // both kinds of builds report the same version of a runtime.
    const brought = Object.keys(own)
      .sort()
      .filter((name) => own[name]?.launch)
      .map((name) => layerVersion(own[name]?.data));
    const runtime = brought.find((found) => found !== null) ?? version;
    return `${id} ${runtime}`.slice(0, MAX_BUILDPACK_CHARACTERS);
  });
  return { processes: processes.sort((a, b) => (a.type < b.type ? -1 : 1)), buildpacks };
}

function readLabel<Schema extends z.ZodType>(
  labels: Readonly<Record<string, string>>,
  name: string,
  schema: Schema,
): z.output<Schema> {
  const text = labels[name] ?? '{}';
  if (text.length > MAX_LABEL_CHARACTERS)
    throw unusable(name, `it has more than ${mebibytes(MAX_LABEL_CHARACTERS)}`);
  const { data, error } = schema.safeParse(parsed(name, text));
  if (error === undefined) return data;
  const [issue] = error.issues;
  throw unusable(name, `${issue?.path.join('.')}: ${issue?.message}`);
}

function parsed(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw unusable(name, 'it is not JSON');
  }
}

function unusable(name: string, why: string): DeployError {
  return new DeployError(
    'BUILD_FAILED',
    `the label ${name} of the built image cannot be used: ${why}`,
    'Correct what your buildpacks write about processes and layers, or tell the operator.',
  );
}
