// The compiler includes this file first when it compiles ssh2's native ciphers.
//
// With the node_object_wrap.h of this Node, the destructor of an object removes the object's cleanup hook. To do so, it
// looks for the current environment. The garbage collector also frees objects in its own tasks, which have no
// environment. Node then aborts, so anybody who opens enough connections could end the server. The hooks matter only
// if an environment ends before the process, as in a worker thread. This server runs ssh2 in no worker thread. Without
// the hooks, the header works as in earlier releases of Node.
#include <node.h>
#define AddEnvironmentCleanupHook(...) static_cast<void>(0)
#define RemoveEnvironmentCleanupHook(...) static_cast<void>(0)
