module github.com/outrigger-mesh/outrigger/e2e

go 1.26.0

toolchain go1.26.8
