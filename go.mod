module sandboxer

go 1.26.0
