import { ApiException } from '@kubernetes/client-node';
import { DeployError } from '../../core/errors.ts';
import { quotaRefusal, resourceWords } from './quota-words.ts';

/** The parts of the API's Status object that say why a request was refused. */
export interface ApiStatus {
  readonly reason: string;
  readonly message: string;
}

/**
 * Parses the API's Status object in an exception. The body of the exception is text, although its type says otherwise.
 */
export function statusOf(error: ApiException<unknown>): ApiStatus {
  const body = typeof error.body === 'string' ? parsed(error.body) : error.body;
  const { reason, message } = (body ?? {}) as { reason?: unknown; message?: unknown };
  return {
    reason: typeof reason === 'string' ? reason : '',
    message: typeof message === 'string' ? message : String(error.body ?? ''),
  };
}

/** True if the requested object does not exist. False if its whole namespace does not exist. */
export function isNotFound(error: unknown): boolean {
  return error instanceof ApiException && error.code === 404 && missingNamespace(error) === null;
}

/** Explains a refusal of the cluster's API to people. Null if the error is no refusal, or has no known reason. */
export function refusalOf(error: unknown): DeployError | null {
  if (!(error instanceof ApiException)) return null;
  const { message, reason } = statusOf(error);
  const namespace = missingNamespace(error);
  if (namespace !== null) return noNamespace(namespace, 'gone', error);
  if (error.code === 401) {
    return new DeployError(
      'CLUSTER_FORBIDDEN',
      'the cluster refused the credentials of this server',
      'Tell the operator: the token or certificate in the kubeconfig is wrong or has expired.',
      { cause: error },
    );
  }
  if (error.code === 403) return refusalIn(message, error) ?? forbidden(message, error);
  // Of all objects, only Secrets hold as much as a tool wants, so only these can exceed the limit of a request.
  if (error.code === 413) return variablesTooLarge(error);
  if (reason === 'Invalid' || error.code === 400) return refusalIn(message, error);
  return null;
}

/**
 * Explains to people why the cluster refuses an object, such as a pod or a Secret. The message comes from the API or a
 * controller (the condition ReplicaFailure, the event FailedCreate). Null if the message has no reason that is known
 * here.
 */
export function refusalIn(message: string, cause?: unknown): DeployError | null {
  return (
    quota(message, cause) ??
    missingQuota(message, cause) ??
    limitRange(message, cause) ??
    podSecurity(message, cause) ??
    terminating(message, cause) ??
    webhook(message, cause) ??
    (/^Secret \S+ is invalid: data: Too long:/.test(message) ? variablesTooLarge(cause) : null)
  );
}

function quota(message: string, cause: unknown): DeployError | null {
  const refusal = quotaRefusal(message);
  if (refusal === null) return null;
  return new DeployError(
    'QUOTA_EXCEEDED',
    `the tool's quota ${refusal.quota} is used up (${refusal.words})`,
    'Stop processes, end previews, set less cpu and mem in service.template, or ask the operator for a larger quota. During a rollout, the old and the new release need quota at the same time.',
    { cause },
  );
}

function missingQuota(message: string, cause: unknown): DeployError | null {
  const match = /failed quota: (\S+): must specify (.*)$/s.exec(message);
  if (match === null) return null;
  return new DeployError(
    'QUOTA_EXCEEDED',
    `the quota ${match[1]} requires every process to set ${match[2]}`,
    'Tell the operator: the settings of the server must set every value that the quota requires.',
    { cause },
  );
}

// Parses the message about a pod that does not fit a LimitRange (plugin/pkg/admission/limitranger/admission.go of
// Kubernetes).
function limitRange(message: string, cause: unknown): DeployError | null {
  const found = [
    ...message.matchAll(
      /(maximum|minimum) (\S+) usage per (Container|Pod) is ([^\s,]+)(?:, but (limit|request) is ([^\s,\]]+)| *\. No (limit|request) is specified)/gi,
    ),
  ];
  if (found.length === 0) return null;
  const parts = found.map(([, which = '', resource = '', , bound, , given]) => {
    const mayOrMustBe = which.toLowerCase() === 'maximum' ? 'may be at most' : 'must be at least';
    return `${resourceWords(resource)} ${mayOrMustBe} ${bound}, asked for: ${given ?? 'none'}`;
  });
  return new DeployError(
    'LIMIT_RANGE',
    `the tool's namespace does not allow a process of this size (${parts.join('; ')})`,
    'Change cpu or mem in service.template and push again, or ask the operator.',
    { cause },
  );
}

function podSecurity(message: string, cause: unknown): DeployError | null {
  const match = /violates PodSecurity "([^"]+)": (.*)$/s.exec(message);
  if (match === null) return null;
  return new DeployError(
    'POD_SECURITY',
    `the cluster's Pod Security ${match[1]} does not allow the process: ${match[2]}`,
    'Tell the operator: the pods that this server makes must be allowed at the Pod Security level of the namespace.',
    { cause },
  );
}

function terminating(message: string, cause: unknown): DeployError | null {
  const match = /new content in namespace (\S+) because it is being terminated/.exec(message);
  if (match === null) return null;
  return noNamespace(match[1] ?? '', 'leaving', cause);
}

function webhook(message: string, cause: unknown): DeployError | null {
  const match = /admission webhook "([^"]+)" denied the request: (.*)$/s.exec(message);
  if (match === null) return null;
  return new DeployError(
    'CLUSTER_FORBIDDEN',
    `the cluster's rules refuse the request: ${match[2]}`,
    `Tell the operator: the admission webhook ${match[1]} refused the request.`,
    { cause },
  );
}

/** The error of variables that do not fit into a Secret, whose values may have 1 MiB together. */
export function variablesTooLarge(cause?: unknown): DeployError {
  return new DeployError(
    'CONFIG_TOO_LARGE',
    'the config vars are too large for the cluster: the values of all variables together may have at most 1 MiB',
    'Put large values into files, or remove config vars with: config unset TOOL NAME',
    cause === undefined ? {} : { cause },
  );
}

// The API's message looks like this: `deployments.apps "x" is forbidden: User "u" cannot patch resource "deployments"
// in API group "apps" in the namespace "n"`
function forbidden(message: string, cause: unknown): DeployError {
  const match = /User "[^"]*" cannot (\S+) resource "([^"]+)"/.exec(message);
  const action = match === null ? 'do what this step needs' : `${match[1]} ${match[2]}`;
  return mayNot(action, /in the namespace "([^"]+)"/.exec(message)?.[1] ?? null, cause);
}

/** Returns the error for a right that this server lacks. @param action - A verb and a resource: `create jobs`. */
export function mayNot(action: string, namespace: string | null, cause?: unknown): DeployError {
  return new DeployError(
    'CLUSTER_FORBIDDEN',
    `this server may not ${action}${namespace === null ? '' : ` in the namespace ${namespace}`}`,
    namespace === null
      ? 'Tell the operator: the role of the server’s service account (RBAC) lacks the right for this request.'
      : // Without rights in a namespace, the API does not tell whether the namespace exists. So name both reasons.
        'Tell the operator: the server’s service account lacks the right for this request in the namespace (RBAC), or the namespace does not exist.',
    cause === undefined ? {} : { cause },
  );
}

function missingNamespace(error: ApiException<unknown>): string | null {
  if (error.code !== 404) return null;
  return /^namespaces "([^"]+)" not found/.exec(statusOf(error).message)?.[1] ?? null;
}

/** True if an error says that a namespace does not exist or is being deleted. */
export function isNoNamespace(error: unknown): error is DeployError {
  return error instanceof DeployError && ['NAMESPACE_MISSING', 'NAMESPACE_LEAVING'].includes(error.code);
}

/** Returns the error for a tool's namespace that does not exist or is being deleted. */
export function noNamespace(namespace: string, state: 'gone' | 'leaving', cause?: unknown): DeployError {
  const isGone = state === 'gone';
  return new DeployError(
    isGone ? 'NAMESPACE_MISSING' : 'NAMESPACE_LEAVING',
    `the tool's namespace ${namespace} ${isGone ? 'does not exist' : 'is being deleted'}`,
    isGone
      ? 'The platform creates the namespace, and gives this server its rights in it, when a tool is created. Push again in some minutes. If somebody deleted the namespace, ask the operator to create it and the rights again. Then push, or type `restart`.'
      : 'Nothing can be created in this namespace. Ask the operator to create the namespace again and to give this server its rights there. Then push, or type `restart`.',
    cause === undefined ? {} : { cause },
  );
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
