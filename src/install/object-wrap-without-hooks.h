// Included before everything else where ssh2's native ciphers are compiled.
//
// The node_object_wrap.h of this Node takes an object's cleanup hook away in its destructor, which looks for the
// current environment. The garbage collector also frees objects from tasks of its own, where there is none: node then
// aborts, and whoever opens enough connections ends the server. The hooks only matter where an environment ends before
// its process does, as a worker thread's; ssh2 runs in none here. Without them the header is that of earlier releases.
#include <node.h>
#define AddEnvironmentCleanupHook(...) static_cast<void>(0)
#define RemoveEnvironmentCleanupHook(...) static_cast<void>(0)
