module flywheel.dev/lab/sample

go 1.26.4
