// Package l7 has the layers and services that deal in HTTP requests, whichever
// version carries them. How a version looks on the wire is the business of its
// packages h1 and, once it is built, h2; bytes that are not HTTP are package
// l4's. Read Rescue for what a layer is, then the stack files of package proxy
// for where each stands.
package l7
