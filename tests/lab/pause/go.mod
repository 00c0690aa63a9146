module flywheel.dev/lab/pause

go 1.26.4
