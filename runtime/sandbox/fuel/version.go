package fuel

// Version is raised whenever what Rewrite gives for some module and options
// changes, or what its Module says of it: caches of rewritten modules hang on
// it.
const Version = 5
